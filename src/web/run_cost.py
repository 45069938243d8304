"""What labelling one clip cost: key and non-key frames apart, beside segmenting every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from src.inference.video.prediction import LabelledFrame
from src.measure.cost import FrameCost
from src.structures import Size


@dataclass
class RunTimes:
    """Gathers how long the networks took for each frame.

    Attributes:
        key: seconds of each key frame.
        nonkey: seconds of each other frame.
    """

    key: list[float] = field(default_factory=list)
    nonkey: list[float] = field(default_factory=list)

    def add(self, result: LabelledFrame) -> None:
        """Count one more frame."""
        (self.key if result.is_key else self.nonkey).append(result.seconds)


@dataclass(frozen=True)
class CostRow:
    """One line of the table.

    Attributes:
        name: what is counted.
        frames: how many there were, ``None`` where that is no question.
        gflops: per frame, a multiply-add is 1; ``None`` if there was none.
        milliseconds: per frame, the median; of the average, that of the medians by their frames; ``None`` if there was none.
    """

    name: str
    frames: int | None
    gflops: float | None
    milliseconds: float | None


def cost_rows(times: RunTimes, cost: FrameCost, signal_gflops: float = 0.0) -> list[CostRow]:
    """Key frames, non-key frames, the average of the run and, to compare, a key frame every time.

    Args:
        times: at least one frame.
        cost: of the propagator at the size that the network saw.
        signal_gflops: what the scheduler spends on looking at a frame.

    Raises:
        ValueError: if there was no frame.
    """
    frames = len(times.key) + len(times.nonkey)
    if not frames:
        raise ValueError("no frame was labelled, so there is no cost to tell")
    key, nonkey = (part + cost.post + signal_gflops for part in (cost.key, cost.propagate))
    total = len(times.key) * key + len(times.nonkey) * nonkey
    every = cost.key + cost.post
    key_ms, nonkey_ms = _median_ms(times.key), _median_ms(times.nonkey)
    # Not the mean: one frame that the machine stood still at would outweigh all others.
    average_ms = (len(times.key) * (key_ms or 0.0) + len(times.nonkey) * (nonkey_ms or 0.0)) / frames
    return [
        CostRow("key frame", len(times.key), key, key_ms),
        CostRow("non-key frame", len(times.nonkey), nonkey if times.nonkey else None, nonkey_ms),
        CostRow("average of this run", frames, total / frames, average_ms),
        CostRow("for comparison: every frame segmented", None, every, key_ms),
    ]


def conditions(machine: dict[str, str | int], size: Size, autocast: str | None = None) -> str:
    """What the figures depend on, in a sentence.

    Args:
        machine: as :func:`src.measure.latency.describe_machine` gives it.
        size: (H, W) of the image that the network saw.
        autocast: dtype of the networks, ``None`` for float32.
    """
    threads = "" if str(machine["device"]).startswith("cuda") else f", threads: {machine['threads']}"
    precision = machine["precision"] if autocast is None else f"autocast {autocast}"
    return (
        f"{machine['device']}{threads}, {precision}, torch {machine['torch']}; the network saw {size[0]}x{size[1]} pixels (HxW), "
        "batch 1. GFLOPs: one multiply-add counts 1. Times: median, decoding and encoding went on beside it."
    )


def _median_ms(seconds: Sequence[float]) -> float | None:
    return 1e3 * median(seconds) if seconds else None
