"""A stream of frames in, a semantic map per frame out: segment key frames, propagate their masks to the frames between."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.inference.scheduling.scheduler import Decision, KeyFrameScheduler, LearningScheduler
from src.models.propagator import Propagator
from src.ops.device import synchronize
from src.ops.masks import SEMANTIC_MAPS, MapSize
from src.ops.resize import short_side_size
from src.structures import FlowPrediction, KeyFrameState, MaskPrediction, Size

Compile = bool | Literal["backbone"]
"""What goes through ``torch.compile``."""


@dataclass(frozen=True)
class StepResult:
    """What one frame gave, before post-processing.

    Attributes:
        prediction: masks and classes of the frame, final layer.
        flow: the motion that carried them here; ``None`` on a key frame.
        state: what to hand to the next step.
        map_size: where :meth:`semantic_map` sums the classes.
    """

    prediction: MaskPrediction
    flow: FlowPrediction | None
    state: KeyFrameState
    map_size: MapSize = "image"

    @property
    def is_key(self) -> bool:
        """Whether the frame was segmented anew."""
        return self.flow is None

    def semantic_map(self, size: Size) -> Tensor:
        """(B, H, W) int64 at the asked size (H, W)."""
        return SEMANTIC_MAPS[self.map_size](self.prediction, size)


class StreamingSegmentor:
    """The method as users run it, frame by frame; evaluation and the demo drive this very object.

    It holds no state: :meth:`step` takes the stream's state and returns the next, so one object serves any number of streams.
    Every non-key frame is warped straight from its key frame, never chained (paper, section 3.1).

    Args:
        propagator: the network; switched to eval mode here.
        scheduler: which frames are key frames.
        short_side: the shorter side of the images that the network sees, in pixels; ``None`` leaves images as they are.
        max_long_side: the longer side is at most this; alone, it only ever shrinks.
        autocast: precision of the networks (``torch.bfloat16``); the warp and the masks' post-processing stay float32. ``None``
            leaves it to the surroundings.
        compile: what goes through ``torch.compile``: both networks (``True``), the segmentor's backbone, or nothing. The first
            frames then take up to minutes, and each new image size again. ``docs/performance.md`` says where it wins.
        clock: seconds, by which steps are timed for a scheduler that asks what they took.
        map_size: ``image``, or ``mask`` for the approximation of :func:`src.ops.masks.semantic_map_at_mask_size`.

    Raises:
        ValueError: if a side is not positive, or ``compile`` or the map size unknown, or the backbone cannot be compiled.
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
                raise ValueError(f"{name} is {side}, expected a positive number of pixels or None")
        self.propagator = propagator.eval()
        self._scheduler = scheduler
        self.short_side = short_side
        self.max_long_side = max_long_side
        if map_size not in SEMANTIC_MAPS:
            raise ValueError(f"map_size is {map_size!r}, expected {' or '.join(SEMANTIC_MAPS)}")
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
    def step(self, image: Tensor, state: KeyFrameState | None) -> tuple[Tensor, KeyFrameState]:
        """Label one frame of B streams that go in step.

        Args:
            image: (B, 3, H, W), RGB 0..255.
            state: what the step before returned; ``None`` at the start of a stream.

        Returns:
            semantic_map (B, H, W) int64 at the image's own size, and the state for the next step.

        Raises:
            ValueError: see :meth:`predict`.
        """
        started = self.clock()
        result = self.predict(image, state)
        maps = result.semantic_map((image.shape[-2], image.shape[-1]))
        if not isinstance(self.scheduler, LearningScheduler):
            return maps, result.state
        synchronize(maps.device)
        return maps, self.record_latency(result.state, self.clock() - started)

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Label the frames of one video as they come, in constant memory.

        Args:
            frames: (3, H, W) each, RGB 0..255.

        Yields:
            semantic_map (H, W) int64 of each frame.
        """
        state: KeyFrameState | None = None
        for frame in frames:
            maps, state = self.step(frame[None], state)
            yield maps[0]

    @torch.inference_mode()
    def predict(self, image: Tensor, state: KeyFrameState | None) -> StepResult:
        """:meth:`step` without its post-processing, with the flow.

        Raises:
            ValueError: if the image is not (B, 3, H, W), or has another size or number of streams than the state's key frame
                although the scheduler wants no key frame.
        """
        image = self.resize(image)
        decision = self.scheduler.before(image, state)
        if state is None or decision.reason is not None:
            return self._segment_decided(image, state, decision)
        result = self.propagate_with_flow(image, state)
        return replace(result, state=replace(result.state, schedule=decision.schedule))

    @torch.inference_mode()
    def segment_key(self, image: Tensor, state: KeyFrameState | None = None) -> tuple[MaskPrediction, KeyFrameState]:
        """Segment a frame, whatever the scheduler says, and make it the key frame of the following ones."""
        image = self.resize(image)
        self._check_mode()
        with self._precision(image):
            prediction = self._segment(image).final_layer()
            features = self.propagator.flow.encode_key(image)
        index = 0 if state is None else state.index + 1
        return prediction, KeyFrameState(image, prediction, index, age=0, flow_features=features)

    def propagate(self, image: Tensor, state: KeyFrameState) -> tuple[MaskPrediction, KeyFrameState]:
        """Carry the key frame's masks to a frame, whatever the scheduler says."""
        result = self.propagate_with_flow(image, state)
        return result.prediction, result.state

    @torch.inference_mode()
    def propagate_with_flow(self, image: Tensor, state: KeyFrameState) -> StepResult:
        """:meth:`propagate`, with the motion that was found.

        Raises:
            ValueError: if the image has another size or number of streams than the state's key frame.
        """
        image = self.resize(image)
        if image.shape != state.image.shape:
            raise ValueError(
                f"frame {state.index + 1} is {tuple(image.shape)}, its key frame (number {state.index - state.age}) "
                f"{tuple(state.image.shape)}, as the network sees them: expected one size within a stream; start a new one"
            )
        self._check_mode()
        with self._precision(image):
            prediction, flow = self._propagate(state.prediction, state.image, image, state.flow_features)
        state = replace(state, index=state.index + 1, age=state.age + 1, reason=None)
        return StepResult(prediction, flow, state, self.map_size)

    def resize(self, image: Tensor) -> Tensor:
        """The image as the network sees it: on its device, at its size (antialiased bilinear; uint8 stays uint8, as in PIL).

        Raises:
            ValueError: if the image is not (B, 3, H, W).
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image is {tuple(image.shape)}, expected (B, 3, H, W)")
        image = image.to(next(self.propagator.parameters()).device)
        size = short_side_size((image.shape[-2], image.shape[-1]), self.short_side, self.max_long_side)
        if size == tuple(image.shape[-2:]):
            return image
        resized = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        return resized.round().clamp(0, 255).to(image.dtype) if image.dtype == torch.uint8 else resized.to(image.dtype)

    def record_latency(self, state: KeyFrameState, seconds: float) -> KeyFrameState:
        """The state, its scheduler knowing what the step that gave it took, from the decoded frame to its label map.

        :meth:`step` and :meth:`stream` do this; after :meth:`predict` it is the caller who knows.
        """
        if not isinstance(self.scheduler, LearningScheduler):
            return state
        return replace(state, schedule=self.scheduler.record_latency(state, 1e3 * seconds))

    def _compile(self, what: Compile) -> None:
        if what is True:
            self._segment = torch.compile(self.propagator.segmentor)
            # Without parameters (no motion, OpenCV's) there is nothing to gain.
            if any(True for _ in self.propagator.flow.parameters()):
                self._propagate = torch.compile(self.propagator.propagate)
        elif what == "backbone":
            backbone = self.propagator.segmentor.parts()["backbone"]
            if isinstance(backbone, nn.ModuleList):
                raise ValueError(
                    f"compile=backbone: that of a {type(self.propagator.segmentor).__name__} is no network of its own"
                )
            # In place, which leaves the names of its parameters as they are.
            backbone.compile()
        elif what is not False:
            raise ValueError(f"compile is {what!r}, expected true, false or backbone")

    def _segment_decided(self, image: Tensor, state: KeyFrameState | None, decision: Decision) -> StepResult:
        prediction, state = self.segment_key(image, state)
        state = replace(state, reason=decision.reason, schedule=decision.schedule)
        return StepResult(prediction, None, state, self.map_size)

    def _check_mode(self) -> None:
        if self.propagator.training:
            raise RuntimeError("the propagator was put back into train mode: call .eval() on it before streaming")

    def _precision(self, image: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(image.device.type, dtype=self.autocast)
