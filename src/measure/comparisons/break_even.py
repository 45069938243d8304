"""Break-even of carried masks on a machine: speed, cost, delay and accuracy of every key interval, online and offline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from src.files.tables import Row, console_table, number

WORTHWHILE = 0.9
"""Largest share of a key frame's time that a carried frame may take to pay: it costs accuracy, and times of a machine vary."""


@dataclass(frozen=True)
class ModeCost:
    """Cost of the two kinds of frames of a mode, from decoded frame to label map.

    Attributes:
        key_ms, carried_ms: milliseconds, medians.
        key_gflops, carried_gflops: one multiply-add counts 1; the work of libraries other than torch is not counted.
    """

    key_ms: float
    carried_ms: float
    key_gflops: float
    carried_gflops: float

    @property
    def pays(self) -> bool:
        """Return whether a carried frame is faster than a key frame by enough to give up accuracy."""
        return self.carried_ms < WORTHWHILE * self.key_ms

    def mean_ms(self, key_interval: int) -> float:
        """Average the milliseconds per frame over a key interval."""
        return (self.key_ms + (key_interval - 1) * self.carried_ms) / key_interval

    def mean_gflops(self, key_interval: int) -> float:
        """Average the GFLOPs per frame over a key interval."""
        return (self.key_gflops + (key_interval - 1) * self.carried_gflops) / key_interval


def break_even_rows(
    costs: Mapping[str, ModeCost], key_intervals: Iterable[int], rate: float, accuracy: Mapping[tuple[str, int], Row]
) -> list[Row]:
    """Build a row for every mode and key interval.

    Args:
        costs: costs by mode, ``online`` or ``offline``.
        key_intervals: frames from key frame to key frame.
        rate: frames per second of the video, for delays in seconds.
        accuracy: mode and key interval -> scores of a clip, see :func:`accuracy_row`; empty without a clip.
    """
    rows = []
    for mode, cost in costs.items():
        for k in key_intervals:
            # Offline, the frame after a key frame waits for the next key frame.
            delay = k - 1 if mode == "offline" else 0
            rows.append(
                {
                    "mode": mode,
                    "key_interval": k,
                    "fps": 1e3 / cost.mean_ms(k),
                    "ms": cost.mean_ms(k),
                    "gflops": cost.mean_gflops(k),
                    "delay_frames": delay,
                    "delay_s": delay / rate,
                    "key_ms": cost.key_ms,
                    "carried_ms": cost.carried_ms,
                    "times_as_fast": cost.key_ms / cost.mean_ms(k),
                    "pays": cost.pays,
                    **accuracy.get((mode, k), {"agreement": None, "miou": None, "kept": None}),
                }
            )
    return rows


def accuracy_row(agreement: float, miou: float | None, miou_per_frame: float | None) -> Row:
    """Build the scores of a clip at a key interval.

    Returns:
        ``agreement``, the share of pixels with the label of the same model on every frame; ``miou``, ``None`` without labels; and
        ``kept``, mIoU by the mIoU of every frame segmented, without labels the agreement.
    """
    kept = agreement if miou is None or not miou_per_frame else miou / miou_per_frame
    return {"agreement": agreement, "miou": miou, "kept": kept}


def verdicts(costs: Mapping[str, ModeCost], rate: float, longest: int) -> list[str]:
    """Describe in one sentence for each mode whether carrying pays, and which intervals reach a rate of frames per second.

    Args:
        costs: costs by mode.
        rate: frames per second of the video.
        longest: longest key interval considered.
    """
    lines = []
    for mode, cost in costs.items():
        times = f"a carried frame takes {cost.carried_ms:.1f} ms, a key frame {cost.key_ms:.1f}"
        if not cost.pays:
            lines.append(f"{mode}: carrying does not pay on this machine: {times}; segment every frame (key_interval=1)")
            continue
        gain = cost.key_ms / cost.mean_ms(longest)
        fast = next((k for k in range(1, longest + 1) if 1e3 / cost.mean_ms(k) >= rate), None)
        reach = f"not reached up to key_interval={longest}" if fast is None else f"reached from key_interval={fast} on"
        lines.append(
            f"{mode}: carrying pays on this machine: {times}; {gain:.2f} times as fast at key_interval={longest}; "
            f"{rate:g} frames per second are {reach}"
        )
    return lines


def notes(rows: Sequence[Row]) -> list[str]:
    """Explain the columns of :func:`break_even_rows` that need it."""
    lines = []
    if rows[0]["flow"] == "DISFlow":
        lines.append("GFLOPs are without the work of OpenCV, which computes the flow (DIS)")
    if any(row["miou"] is not None for row in rows):
        lines.append("kept: mIoU in percent of the mIoU of every frame segmented")
    elif any(row["agreement"] is not None for row in rows):
        lines.append("kept: pixels with the label that they have where every frame is segmented (the clip has no labels)")
    return lines


def break_even_table(rows: Sequence[Row]) -> Table:
    """Build the terminal's table of :func:`break_even_rows`: a line for every key interval, the modes side by side."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    has_clip = any(row["agreement"] is not None for row in rows)
    has_labels = any(row["miou"] is not None for row in rows)
    columns = ["k"]
    for mode in modes:
        columns += [f"{mode}: fps", "ms", "GFLOPs", "delay", "s"]
        columns += [*(["mIoU"] if has_labels else []), *(["kept %"] if has_clip else [])]
    lines = []
    for k in dict.fromkeys(row["key_interval"] for row in rows):
        line = [str(k)]
        for row in rows:
            if row["key_interval"] == k:
                line += [number(row["fps"]), number(row["ms"]), number(row["gflops"], 2)]
                line += [str(row["delay_frames"]), number(row["delay_s"], 2)]
                line += [number(row["miou"], 1, 100)] if has_labels else []
                line += [number(row["kept"], 1, 100)] if has_clip else []
        lines.append(line)
    return console_table(columns, lines)
