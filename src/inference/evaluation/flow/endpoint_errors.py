"""End-point errors of flows on data with ground-truth flow."""

from dataclasses import dataclass

from src.data.clips import ClipDataset, naming_frame
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.progress import ProgressCallback, counted
from src.metrics.endpoint_error import EndPointError


@dataclass(frozen=True)
class ClipError:
    """Errors on one clip.

    Attributes:
        clip: name of the clip.
        epe, outlier_rate: see :class:`EndPointError`, over all pairs.
        pairs: number of frame pairs.
    """

    clip: str
    epe: float
    outlier_rate: float
    pairs: int


def flow_pairs(dataset: ClipDataset) -> list[tuple[int, int, int]]:
    """List (clip, nonkey, key) of all neighbouring frames with ground-truth flow, in either direction.

    Raises:
        ValueError: if there is none.
    """
    pairs = []
    for clip, frames in enumerate(dataset.clips):
        neighbours = [(a, b) for t in range(1, len(frames)) for a, b in ((t, t - 1), (t - 1, t))]
        pairs += [(clip, nonkey, key) for nonkey, key in neighbours if dataset.read_flow(clip, nonkey, key) is not None]
    if not pairs:
        raise ValueError(f"{type(dataset).__name__} has no ground-truth flow; expected data with flow, e.g. data=middlebury")
    return pairs


def endpoint_errors(method: FlowMethod, dataset: ClipDataset, progress: ProgressCallback | None = None) -> list[ClipError]:
    """Compute the errors on each clip with ground-truth flow; pixels of unknown flow are left out."""
    pairs = flow_pairs(dataset)
    metrics: dict[int, EndPointError] = {}
    for clip, nonkey, key in counted(pairs, progress):
        truth = dataset.read_flow(clip, nonkey, key)
        assert truth is not None
        with naming_frame(dataset, clip, nonkey):
            found = method.to_key(method.start(dataset.read_image(clip, key)), dataset.read_image(clip, nonkey))
        metrics.setdefault(clip, EndPointError()).update(found, truth)
    counts = {clip: sum(number == clip for number, _, _ in pairs) for clip in metrics}
    figures = {clip: metric.compute() for clip, metric in metrics.items()}
    return [
        ClipError(dataset.clips[clip].name, one["epe"].item(), one["outlier_rate"].item(), counts[clip])
        for clip, one in figures.items()
    ]
