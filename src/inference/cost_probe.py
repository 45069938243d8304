"""Latency of both kinds of frames of a stream on this machine."""

from dataclasses import replace
from statistics import median

from torch import Tensor

from src.inference.neighbors import Target, label_targets
from src.inference.scheduling.change import ChangeSettings
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StreamingSegmentor
from src.ops.device import milliseconds
from src.structures import MaskPrediction


def measure_ms(stream: StreamingSegmentor, image: Tensor, repeats: int = 5) -> StepCosts:
    """Measure key and propagated frames from decoded frame to label map, change signals included.

    Returns medians, after one untimed call of each kind; takes a few seconds. Masks are carried from as many key frames as within
    a long scene, see ``StreamingSegmentor.sources``.

    Args:
        stream: segmentor; its scheduler is not used.
        image: (1, 3, H, W), a frame of the expected size.
        repeats: timed calls of each kind.
    """
    size = (image.shape[-2], image.shape[-1])
    _, key = stream.segment_key(image)
    later = replace(key, index=1, age=1)
    sources, sources_of_key = stream.sources
    settings = ChangeSettings()
    change = settings.update_change(stream.resize(image), None)

    def label(count: int, own: MaskPrediction | None) -> None:
        resized = stream.resize(image)
        settings.update_change(resized, change)
        for result in label_targets(stream, [Target(resized, later, (key,) * count, own)], stream.fusion):
            result.semantic_map(size)

    def segment() -> None:
        label(sources_of_key, stream.segment_key(image)[0])

    def propagate() -> None:
        label(sources, None)

    # In turn, so that a machine that slows down affects both.
    times = [[milliseconds(call)[0] for call in (segment, propagate)] for _ in range(repeats + 1)]
    return StepCosts(*map(median, zip(*times[1:], strict=True)))
