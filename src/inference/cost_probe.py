"""Latency of both kinds of frames of a stream on this machine."""

from collections.abc import Callable
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

    Returns medians, after one untimed call of each kind; takes a few seconds.

    Args:
        stream: segmentor; its scheduler is not used.
        image: (1, 3, H, W), a frame of the expected size.
        repeats: timed calls of each kind.
    """
    calls = frame_calls(stream, image, (image, image))
    # In turn, so that a machine that slows down affects both.
    times = [[milliseconds(call)[0] for call in calls] for _ in range(repeats + 1)]
    return StepCosts(*map(median, zip(*times[1:], strict=True)))


def frame_calls(
    stream: StreamingSegmentor, image: Tensor, key_images: tuple[Tensor, Tensor]
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return calls that label a frame as a key frame and as a non-key frame.

    Masks are carried from as many key frames as within a long scene, see ``StreamingSegmentor.sources``.

    Args:
        stream: segmentor; its scheduler is not used.
        image: (1, 3, H, W), the frame.
        key_images: the key frames before and after it.
    """
    size = (image.shape[-2], image.shape[-1])
    before, after = (stream.segment_key(one)[1] for one in key_images)
    keys, later = (before, replace(after, index=2)), replace(before, index=1, age=1)
    sources, sources_of_key = stream.sources
    settings = ChangeSettings()
    change = settings.update_change(stream.resize(image), None)

    def label(count: int, own: MaskPrediction | None) -> None:
        resized = stream.resize(image)
        settings.update_change(resized, change)
        for result in label_targets(stream, [Target(resized, later, keys[:count], own)], stream.fusion):
            result.semantic_map(size)

    def segment() -> None:
        label(sources_of_key, stream.segment_key(image)[0])

    def propagate() -> None:
        label(sources, None)

    return segment, propagate
