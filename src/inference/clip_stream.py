"""Streaming inference of clip segmentors: every frame is encoded once, and later frames read what is kept of it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from src.inference.frame_input import FrameInput, image_batch, one_image
from src.inference.runtime.transfers import is_queued, upload
from src.inference.step_result import LabelledFrame
from src.inference.stream_checks import FiniteCheck, enforce
from src.models.clip_segmentors.base import ClipSegmentor, FirstFrames
from src.ops.padding import padded_size
from src.ops.resize import short_side_size
from src.structures import Size

_CLASSES_AT_ONCE = 16


@dataclass(frozen=True)
class ClipState:
    """State of a stream between two frames.

    Attributes:
        index: number of the latest frame, from 0 at the start of the stream.
        size: (H, W) of the network's input.
        references: kept features of the latest frames, by their numbers; as many as the farthest reference is frames away.
    """

    index: int
    size: Size
    references: Mapping[int, tuple[Tensor, ...]]


class ClipStream:
    """Frame-by-frame segmentation of video by a clip segmentor, in constant memory.

    The labels equal those of the segmentor on every clip of its references and the frame. The object holds no stream state.
    A frame is resized bilinearly without antialiasing, first to the given sides and then to multiples of the network's divisor;
    logits are resized back in the same two steps, as in the published test.

    Args:
        segmentor: network; switched to eval mode here.
        short_side: shorter side of frames before they are stretched, pixels; ``None`` keeps their size.
        max_long_side: maximum longer side, pixels; without ``short_side`` it only shrinks.
        keep_multiples: whether frames of multiples of the divisor keep their size, whatever the sides.
        autocast: precision of the network; ``None``: float32.
        first_frames: see :meth:`ClipSegmentor.reference_frames`.
        clock: clock in seconds.
    """

    def __init__(
        self,
        segmentor: ClipSegmentor[Any, Any],
        short_side: int | None = None,
        max_long_side: int | None = None,
        autocast: torch.dtype | None = None,
        keep_multiples: bool = False,
        first_frames: FirstFrames = "official",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        segmentor.reference_frames(0, first_frames)  # refuses unknown names
        self.segmentor = segmentor.eval()
        self.short_side = short_side
        self.max_long_side = max_long_side
        self.autocast = autocast
        self.keep_multiples = keep_multiples
        self.first_frames: FirstFrames = first_frames
        self.clock = clock

    @property
    def num_classes(self) -> int:
        """K."""
        return self.segmentor.num_classes

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.segmentor.image_mean.device

    @property
    def delays(self) -> bool:
        """False: every frame is labelled at once."""
        return False

    def expect(self, frames: int | None) -> None:
        """Do nothing: no runtime is prepared for a number of frames."""

    @torch.inference_mode()
    def step(self, image: FrameInput, state: ClipState | None) -> tuple[Tensor, ClipState]:
        """Label the next frame of B streams of the same length.

        Args:
            image: as of :meth:`src.inference.streaming.StreamingSegmentor.step`.
            state: state returned by the previous step; ``None`` at the start of a stream.

        Returns:
            semantic_map (B, H, W) int64 at the size of the image, and the state for the next step.

        Raises:
            ValueError: if the image has another layout or type, the state is of another size, or logits are NaN or infinite.
        """
        maps, state, check = self._step(image, state)
        check.enforce()
        return maps, state

    def _step(self, image: FrameInput, state: ClipState | None) -> tuple[Tensor, ClipState, FiniteCheck]:
        image = upload(image_batch(image), self.device)
        resized = self.resize(image)
        size = (resized.shape[-2], resized.shape[-1])
        index = 0 if state is None else state.index + 1
        kept = {} if state is None else dict(state.references)
        if state is not None and state.size != size:
            raise ValueError(f"frame {index} is {size} at network size; expected {state.size}; start a new stream")
        wanted = self.segmentor.reference_frames(index, self.first_frames)
        with nullcontext() if self.autocast is None else torch.autocast(image.device.type, dtype=self.autocast):
            features = self.segmentor.encode(resized)
            own = self.segmentor.as_reference(features)
            references = [kept[number] for number in wanted]
            logits = self.segmentor.predict(features, references) if wanted else self.segmentor.predict_alone(features)
        check = FiniteCheck({"class logits": logits}, [index])
        if not is_queued(image.device):
            check.enforce()
        oldest = index + 1 + self.segmentor.reference_offsets[0]
        kept = {number: value for number, value in (kept | {index: own}).items() if number >= oldest}
        return label_map(logits, size, (image.shape[-2], image.shape[-1])), ClipState(index, size, kept), check

    @torch.inference_mode()
    def label_frames(self, frames: Iterable[FrameInput], wait: bool = True) -> Iterator[LabelledFrame]:
        """Label the frames of one video as they arrive, in constant memory; ``wait``: see :class:`LabelStream`."""
        state: ClipState | None = None
        for frame in frames:
            started = self.clock()
            maps, state, check = self._step(one_image(frame), state)
            checks = enforce((check,), maps.device) if wait else (check,)
            yield LabelledFrame(maps, self.clock() - started, checks=checks)

    def stream(self, frames: Iterable[FrameInput]) -> Iterator[Tensor]:
        """Yield semantic_map (H, W) int64 of each frame of one video."""
        for labelled in self.label_frames(frames):
            yield labelled.semantic_map[0]

    def sizes(self, size: Size) -> tuple[Size, Size]:
        """Return the size that a frame (H, W) is fitted to, and that of the network's input."""
        divisor = self.segmentor.size_divisor
        if self.keep_multiples and padded_size(size, divisor) == size:
            return size, size
        fitted = short_side_size(size, self.short_side, self.max_long_side)
        return fitted, padded_size(fitted, divisor)

    def resize(self, image: Tensor) -> Tensor:
        """Return an image (B, 3, H, W) at the network's input size, rounded to whole levels after each step."""
        for size in self.sizes((image.shape[-2], image.shape[-1])):
            if size != tuple(image.shape[-2:]):
                resized = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False)
                image = resized.round().to(image.dtype) if image.dtype == torch.uint8 else resized
        return image


def label_map(logits: Float[Tensor, "B K h w"], network_size: Size, size: Size) -> Tensor:
    """Resize logits bilinearly to the network's input and then to ``size``, and return the best class (B, H, W) int64.

    Few classes exist at full size at once: 124 of them would be 1 GB for a frame of 1080x1920.
    """
    best = labels = None
    for first in range(0, logits.shape[1], _CLASSES_AT_ONCE):
        part = logits[:, first : first + _CLASSES_AT_ONCE]
        for one in dict.fromkeys((network_size, size)):
            part = F.interpolate(part, size=one, mode="bilinear", align_corners=False)
        score, number = part.max(1)
        if best is None or labels is None:
            best, labels = score, number
        else:
            better = score > best
            best, labels = torch.where(better, score, best), torch.where(better, number + first, labels)
    assert labels is not None
    return labels
