"""How far a flow points from the truth, where a data set knows the truth."""

from __future__ import annotations

from dataclasses import dataclass

from src.data.clips import ClipDataset
from src.inference.evaluation.clips import ProgressCallback
from src.inference.evaluation.flow.method import FlowMethod
from src.metrics.endpoint_error import EndPointError


@dataclass(frozen=True)
class ClipError:
    """The error on one clip.

    Attributes:
        clip: its name.
        epe: mean end-point error over the known pixels of all its pairs, pixels.
        outlier_rate: 0..1, of :class:`EndPointError`.
        pairs: how many pairs of frames were judged.
    """

    clip: str
    epe: float
    outlier_rate: float
    pairs: int


def flow_pairs(dataset: ClipDataset) -> list[tuple[int, int, int]]:
    """(clip, nonkey, key) of all neighbouring frames whose flow the data knows, in whichever directions it knows it.

    Raises:
        ValueError: if it knows none.
    """
    pairs = []
    for clip, frames in enumerate(dataset.clips):
        neighbours = [(a, b) for t in range(1, len(frames)) for a, b in ((t, t - 1), (t - 1, t))]
        pairs += [(clip, nonkey, key) for nonkey, key in neighbours if dataset.read_flow(clip, nonkey, key) is not None]
    if not pairs:
        raise ValueError(f"{type(dataset).__name__} knows no flow: end-point errors need data that does, e.g. data=middlebury")
    return pairs


def endpoint_errors(method: FlowMethod, dataset: ClipDataset, progress: ProgressCallback | None = None) -> list[ClipError]:
    """The error on each clip that has pairs with a known flow; pixels without one are left out.

    Args:
        method: whose flow is judged.
        dataset: data that knows its flow.
        progress: told after every pair.

    Raises:
        ValueError: if it knows none.
    """
    pairs = flow_pairs(dataset)
    metrics: dict[int, EndPointError] = {}
    for done, (clip, nonkey, key) in enumerate(pairs, start=1):
        truth = dataset.read_flow(clip, nonkey, key)
        assert truth is not None
        found = method.to_key(method.start(dataset.read_image(clip, key)), dataset.read_image(clip, nonkey))
        metrics.setdefault(clip, EndPointError()).update(found, truth)
        if progress is not None:
            progress(done, len(pairs))
    counts = {clip: sum(number == clip for number, _, _ in pairs) for clip in metrics}
    figures = {clip: metric.compute() for clip, metric in metrics.items()}
    return [
        ClipError(dataset.clips[clip].name, one["epe"].item(), one["outlier_rate"].item(), counts[clip])
        for clip, one in figures.items()
    ]
