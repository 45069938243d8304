"""Streaming inference: segment key frames, propagate their masks to the frames between."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from src.inference.frame_input import FrameInput, image_batch
from src.inference.scheduling.scheduler import KeyFrameScheduler, LatencyAwareScheduler
from src.inference.stream_checks import check_finite, check_state
from src.models.propagator import Propagator
from src.ops.device import synchronize
from src.ops.masks import SEMANTIC_MAPS, MapSize
from src.ops.resize import resize_antialiased, short_side_size
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction, Size

Compile = bool | Literal["backbone"]
"""Networks to run through ``torch.compile``: both, none, or the segmentor's backbone."""


@dataclass(frozen=True)
class StepResult:
    """Result of one frame, before post-processing.

    Attributes:
        prediction: masks and classes of the frame, final layer.
        flow: flow that propagated the masks; ``None`` on a key frame.
        state: state for the next step.
        map_size: resolution of the sum over queries in :meth:`semantic_map`.
    """

    prediction: MaskPrediction
    flow: FlowPrediction | None
    state: KeyFrameState
    map_size: MapSize = "image"

    @property
    def is_key(self) -> bool:
        """True for a key frame."""
        return self.flow is None

    def semantic_map(self, size: Size) -> Tensor:
        """Return the label map (B, H, W) int64 at ``size`` (H, W)."""
        return SEMANTIC_MAPS[self.map_size](self.prediction, size)


class StreamingSegmentor:
    """Frame-by-frame segmentation of video; prediction, evaluation and the demo run this class.

    The object holds no stream state: :meth:`step` takes the state of a stream and returns the next one, so that one object serves
    any number of streams. Every non-key frame is warped directly from its key frame, never chained (paper, section 3.1).

    Args:
        propagator: network; switched to eval mode here.
        scheduler: scheduler that selects the key frames.
        short_side: shorter side of the network's input images, pixels; ``None`` keeps their size.
        max_long_side: maximum longer side, pixels; without ``short_side`` it only shrinks.
        autocast: precision of the networks (``torch.bfloat16``); warp and post-processing stay float32. ``None`` keeps the
            surrounding autocast state.
        compile: networks to run through ``torch.compile``: both (``True``), the segmentor's ``"backbone"``, or none. The first
            frames, and the first of each new image size, then take up to minutes. Gains: ``docs/performance.md``.
        clock: clock in seconds that times steps for a :class:`LatencyAwareScheduler`.
        map_size: ``image``, or ``mask`` for the approximation of :func:`src.ops.masks.semantic_map_at_mask_size`.

    Raises:
        ValueError: if a side is not positive, ``compile`` or ``map_size`` is unknown, or the backbone cannot be compiled.
    """

    def __init__(
        self,
        propagator: Propagator,
        scheduler: KeyFrameScheduler,
        short_side: int | None = None,
        max_long_side: int | None = None,
        autocast: torch.dtype | None = None,
        compile: Compile = False,
        clock: Callable[[], float] = time.perf_counter,
        map_size: MapSize = "image",
    ) -> None:
        for name, side in (("short_side", short_side), ("max_long_side", max_long_side)):
            if side is not None and side < 1:
                raise ValueError(f"{name} is {side}; expected a positive number of pixels or None")
        if map_size not in SEMANTIC_MAPS:
            raise ValueError(f"map_size is {map_size!r}; expected {' or '.join(SEMANTIC_MAPS)}")
        self.propagator = propagator.eval()
        self._scheduler = scheduler
        self.short_side = short_side
        self.max_long_side = max_long_side
        self.autocast = autocast
        self.map_size: MapSize = map_size
        self.clock = clock
        self._segment: Callable[[Tensor], MaskPrediction] = self.propagator.segmentor
        self._propagate = self.propagator.propagate
        self._compile(compile)

    @property
    def scheduler(self) -> KeyFrameScheduler:
        """Scheduler that selects the key frames; fixed for the life of this object."""
        return self._scheduler

    def with_scheduler(self, scheduler: KeyFrameScheduler) -> Self:
        """Return a segmentor with the same networks and settings and another scheduler; this one stays unchanged."""
        other = copy.copy(self)
        other._scheduler = scheduler
        return other

    @torch.inference_mode()
    def step(self, image: FrameInput, state: KeyFrameState | None) -> tuple[Tensor, KeyFrameState]:
        """Label the next frame of B streams that share their key frames.

        Args:
            image: RGB 0..255: tensor (B, 3, H, W) or (3, H, W), uint8 or float; uint8 array (H, W, 3) or (B, H, W, 3); or an
                RGB or grey PIL image. Images without a batch have B = 1. OpenCV's BGR is to be turned by ``frame[..., ::-1]``.
            state: state returned by the previous step; ``None`` at the start of a stream.

        Returns:
            semantic_map (B, H, W) int64 at the size of the image, 0..K-1, and the state for the next step. A network of one class
            has ``IGNORE_INDEX`` where the score of that class is below 0.5.

        Raises:
            ValueError: if the image has another layout or type, or values in 0..1 or outside 0..255; if the state is of another
                image size, number of streams, device or network; or if the masks, classes or flow are NaN or infinite.
        """
        started = self.clock()
        image = image_batch(image)
        result = self.predict(image, state)
        maps = result.semantic_map((image.shape[-2], image.shape[-1]))
        if not isinstance(self.scheduler, LatencyAwareScheduler):
            return maps, result.state
        synchronize(maps.device)
        return maps, self.record_latency(result.state, self.clock() - started)

    def stream(self, frames: Iterable[FrameInput]) -> Iterator[Tensor]:
        """Label the frames of one video as they arrive, in constant memory.

        Args:
            frames: images of :meth:`step` without a batch.

        Yields:
            semantic_map (H, W) int64 of each frame.
        """
        state: KeyFrameState | None = None
        for frame in frames:
            images = image_batch(frame)
            if len(images) != 1:
                raise ValueError(f"frame is {tuple(images.shape)}; expected one image, as a video has one stream")
            maps, state = self.step(images, state)
            yield maps[0]

    @torch.inference_mode()
    def predict(self, image: FrameInput, state: KeyFrameState | None) -> StepResult:
        """Run :meth:`step`, whose arguments and errors these are, without post-processing and without timing."""
        image = self.resize(image)
        decision = self.scheduler.decide(image, state)
        if state is None or decision.reason is not None:
            frame = 0 if state is None else state.index + 1
            prediction, key = self.segment_resized(image, [frame])
            result = StepResult(prediction, None, key, self.map_size)
        else:
            result = self.propagate_resized(image, state, [state.index + 1])
        return replace(result, state=replace(result.state, reason=decision.reason, schedule=decision.schedule))

    def segment_key(self, image: FrameInput, state: KeyFrameState | None = None) -> tuple[MaskPrediction, KeyFrameState]:
        """Segment a frame regardless of the scheduler, and make it the key frame of the following ones."""
        return self.segment_resized(self.resize(image), [0 if state is None else state.index + 1])

    def propagate(self, image: FrameInput, state: KeyFrameState) -> StepResult:
        """Propagate the key frame's masks to a frame regardless of the scheduler; errors are those of :meth:`step`."""
        return self.propagate_resized(self.resize(image), state, [state.index + 1])

    @torch.inference_mode()
    def segment_resized(self, image: Tensor, frames: Sequence[int]) -> tuple[MaskPrediction, KeyFrameState]:
        """Segment results of :meth:`resize`.

        Args:
            image: (B, 3, H, W).
            frames: number of the frame, one for all streams or B of them; the first is that of the state.
        """
        self._check_mode()
        with self._precision(image):
            prediction = self._segment(image).final_layer()
            features = self.propagator.flow.encode_key(image)
        check_finite({"class logits": prediction.class_logits, "mask logits": prediction.mask_logits}, frames)
        return prediction, KeyFrameState(image, prediction, frames[0], age=0, flow_features=features)

    @torch.inference_mode()
    def propagate_resized(self, image: Tensor, state: KeyFrameState, frames: Sequence[int]) -> StepResult:
        """Propagate to results of :meth:`resize`; arguments are those of :meth:`segment_resized`."""
        check_state(image, state, self.propagator.segmentor)
        self._check_mode()
        with self._precision(image):
            prediction, flow = self._propagate(state.prediction, state.image, image, state.flow_features)
        found = {"flow": flow.segment_flow, "flow confidence": flow.confidence, "disocclusion logits": flow.disocclusion_logits}
        check_finite({**found, "mask logits": prediction.mask_logits}, frames)
        state = replace(state, index=state.index + 1, age=state.age + 1, reason=None)
        return StepResult(prediction, flow, state, self.map_size)

    def resize(self, image: FrameInput) -> Tensor:
        """Return an image (B, 3, H, W) on the network's device and at its input size.

        The resize is bilinear and antialiased; uint8 stays uint8, as in Pillow.

        Raises:
            ValueError: if the image is none of :meth:`step`.
        """
        image = image_batch(image).to(next(self.propagator.parameters()).device)
        size = short_side_size((image.shape[-2], image.shape[-1]), self.short_side, self.max_long_side)
        if size == tuple(image.shape[-2:]):
            return image
        return resize_antialiased(image, size)

    def record_latency(self, state: KeyFrameState, seconds: float) -> KeyFrameState:
        """Update the scheduler's part of a state by the latency of its step, from the decoded frame to its label map.

        :meth:`step` and :meth:`stream` call this; callers of :meth:`predict` call it themselves.
        """
        if not isinstance(self.scheduler, LatencyAwareScheduler):
            return state
        return replace(state, schedule=self.scheduler.record_latency(state, 1e3 * seconds))

    def _compile(self, what: Compile) -> None:
        if what is True:
            self._segment = torch.compile(self.propagator.segmentor)
            # A flow without parameters (copy, DIS) has nothing to compile.
            if any(True for _ in self.propagator.flow.parameters()):
                self._propagate = torch.compile(self.propagator.propagate)
        elif what == "backbone":
            backbone = self.propagator.segmentor.parts()["backbone"]
            if isinstance(backbone, nn.ModuleList):
                name = type(self.propagator.segmentor).__name__
                raise ValueError(f"compile is 'backbone', but the backbone of a {name} is no separate network; use true or false")
            # In place, so that parameter names stay.
            backbone.compile()
        elif what is not False:
            raise ValueError(f"compile is {what!r}; expected true, false or backbone")

    def _check_mode(self) -> None:
        if self.propagator.training:
            raise RuntimeError("the propagator is in train mode; expected eval mode; call .eval() on it before streaming")

    def _precision(self, image: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(image.device.type, dtype=self.autocast)
