"""Latency of both kinds of frames of a stream on this machine."""

from statistics import median

from torch import Tensor

from src.inference.scheduling.change import ChangeSettings
from src.inference.scheduling.step_costs import StepCosts
from src.inference.step_result import StepResult
from src.inference.streaming import StreamingSegmentor
from src.ops.device import milliseconds


def measure_ms(stream: StreamingSegmentor, image: Tensor, repeats: int = 5) -> StepCosts:
    """Measure key and propagated frames from decoded frame to label map, change signals included.

    Returns medians, after one untimed call of each kind; takes a few seconds.

    Args:
        stream: segmentor; its scheduler is not used.
        image: (1, 3, H, W), a frame of the expected size.
        repeats: timed calls of each kind.
    """
    size = (image.shape[-2], image.shape[-1])
    _, state = stream.segment_key(image)
    settings = ChangeSettings()
    change = settings.update_change(stream.resize(image), None)

    def segment() -> None:
        settings.update_change(stream.resize(image), change)
        prediction, key = stream.segment_key(image)
        StepResult(prediction, None, key, stream.map_size).semantic_map(size)

    def propagate() -> None:
        settings.update_change(stream.resize(image), change)
        stream.propagate(image, state).semantic_map(size)

    # In turn, so that a machine that slows down affects both.
    times = [[milliseconds(call)[0] for call in (segment, propagate)] for _ in range(repeats + 1)]
    return StepCosts(*map(median, zip(*times[1:], strict=True)))
