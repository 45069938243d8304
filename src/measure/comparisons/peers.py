"""Rows of the comparison of networks for video (``what=peers``): parameters, GFLOPs, times and memory of their frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from src.files.tables import Row, console_table, number

Call = Callable[[], object]
"""Labels one frame, from the decoded image to the label map."""


@dataclass(frozen=True)
class Peer:
    """Network and method of one row.

    Attributes:
        title: name of network and method.
        params_m: millions of parameters.
        count: returns GFLOPs of a key frame and of a non-key frame; ``None`` where every frame is a key frame.
        key: labels a key frame.
        nonkey: labels a non-key frame; ``None`` where every frame is a key frame.
    """

    title: str
    params_m: float
    count: Callable[[], tuple[float, float | None]]
    key: Call
    nonkey: Call | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return the calls of key and non-key frame."""
        return (self.key,) if self.nonkey is None else (self.key, self.nonkey)


def peer_row(peer: Peer, ms: Mapping[Call, float], peak_mib: float, key_interval: int) -> Row:
    """Build the row of a network and method.

    Args:
        peer: network and method.
        ms: call -> median milliseconds.
        peak_mib: peak memory of its calls, see :func:`src.measure.memory.peak_memory_mib`.
        key_interval: frames from key frame to key frame, for the means.
    """
    key, nonkey = peer.count()
    return {
        "title": peer.title,
        "params_m": peer.params_m,
        "gflops": _kinds(key, nonkey, key_interval),
        "ms": _kinds(ms[peer.key], None if peer.nonkey is None else ms[peer.nonkey], key_interval),
        "peak_memory_mib": peak_mib,
        "key_interval": key_interval,
    }


def peers_table(rows: Sequence[Row]) -> Table:
    """Build the terminal's table of :func:`peer_row`."""
    kinds = ("key", "nonkey", "mean")
    k = rows[0]["key_interval"]
    columns = ["", "params M", "GFLOPs: key", "non-key", f"k = {k}", "ms: key", "non-key", f"k = {k}", "peak MiB"]
    lines = []
    for row in rows:
        gflops, ms = ([number(row[name][kind]) for kind in kinds] for name in ("gflops", "ms"))
        lines.append([row["title"], number(row["params_m"]), *gflops, *ms, number(row["peak_memory_mib"], 0)])
    return console_table(columns, lines)


def _kinds(key: float, nonkey: float | None, key_interval: int) -> dict[str, float | None]:
    mean = key if nonkey is None else (key + (key_interval - 1) * nonkey) / key_interval
    return {"key": key, "nonkey": nonkey, "mean": mean}
