"""Cost of one prediction by key and non-key frames, compared with segmenting every frame."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from src.inference.evaluation.fusing import PLAIN, FrameKind, Fusing
from src.inference.scheduling.step_costs import StepCosts
from src.inference.video.prediction import FramePrediction
from src.measure.cost import FrameCost
from src.structures import Size


@dataclass
class RunTimes:
    """Network times of the key frames and of the non-key frames, seconds.

    Attributes:
        kinds: number of frames of each kind.
    """

    key: list[float] = field(default_factory=list)
    nonkey: list[float] = field(default_factory=list)
    kinds: Counter[FrameKind] = field(default_factory=Counter)

    def add(self, result: FramePrediction) -> None:
        """Add one frame."""
        (self.key if result.is_key else self.nonkey).append(result.seconds)
        self.kinds[FrameKind.of(result.is_key, result.offsets)] += 1


@dataclass(frozen=True)
class CostRow:
    """One row of the cost table.

    Attributes:
        frames: number of frames; ``None`` where it does not apply.
        gflops: giga multiply-adds per frame; ``None`` without such frames.
        milliseconds: median per frame; for the average of the run, the medians weighted by their number of frames; ``None``
            without such frames.
    """

    name: str
    frames: int | None
    gflops: float | None
    milliseconds: float | None


def step_costs(cost: FrameCost, signal_gflops: float, fusing: Fusing) -> StepCosts:
    """Return the GFLOPs of both kinds of frames within a scene."""
    return StepCosts(*(_gflops(cost, kind, fusing) + signal_gflops for kind in fusing.kinds))


def cost_rows(times: RunTimes, cost: FrameCost, signal_gflops: float = 0.0, fusing: Fusing = PLAIN) -> list[CostRow]:
    """Return the rows for key frames, non-key frames, the average of the run and segmenting every frame.

    ``cost`` holds for the network's input size, ``signal_gflops`` is the cost of the scheduler's own signal per frame. The first
    and last frames of a scene have fewer sources, which the average counts.
    """
    counts = len(times.key), len(times.nonkey)
    if not any(counts):
        raise ValueError("the run has no frame; expected at least one")
    costs = step_costs(cost, signal_gflops, fusing)
    key_ms, nonkey_ms = _median_ms(times.key), _median_ms(times.nonkey)
    # Not the mean, which a single stall of the machine would dominate.
    average_ms = StepCosts(key_ms or 0.0, nonkey_ms or 0.0).mean(*counts)
    total = sum(count * _gflops(cost, kind, fusing) for kind, count in times.kinds.items())
    average = total / sum(counts) + signal_gflops
    several, fused = fusing.kinds[1].sources > 1, fusing.fuse_keys
    return [
        CostRow("key frame, fused" if fused else "key frame", counts[0], costs.key, key_ms),
        CostRow(
            "non-key frame, from two key frames" if several else "non-key frame",
            counts[1], costs.nonkey if times.nonkey else None, nonkey_ms,
        ),
        CostRow("average of this run", sum(counts), average, average_ms),
        CostRow("for comparison: every frame segmented", None, cost.key + cost.post, None if fused else key_ms),
    ]  # fmt: skip


def conditions(machine: dict[str, str | int], size: Size, autocast: str | None = None) -> str:
    """Describe in a sentence the machine (:func:`src.measure.latency.describe_machine`), network input and autocast dtype."""
    threads = "" if str(machine["device"]).startswith("cuda") else f", threads: {machine['threads']}"
    precision = machine["precision"] if autocast is None else f"autocast {autocast}"
    return (
        f"{machine['device']}{threads}, {precision}, torch {machine['torch']}; network input {size[0]}x{size[1]} (HxW), "
        "batch 1. GFLOPs: one multiply-add counts as 1. Times: medians, with decoding and encoding in parallel."
    )


def _gflops(cost: FrameCost, kind: FrameKind, fusing: Fusing) -> float:
    return cost.frame(kind.is_key, kind.flows, fusing.fusion, kind.sources)


def _median_ms(seconds: Sequence[float]) -> float | None:
    return 1e3 * median(seconds) if seconds else None
