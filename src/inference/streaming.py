"""Streaming inference: segment key frames, propagate their masks to the frames between."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import replace
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from src.inference.frame_input import FrameInput, image_batch, one_image
from src.inference.frame_networks import Compile, FrameNetworks
from src.inference.neighbors import Target, label_targets
from src.inference.offline import label_offline
from src.inference.runtime.frames import RuntimeName, Runtimes
from src.inference.scheduling.change import ChangeState, next_change
from src.inference.scheduling.scheduler import KeyFrameScheduler, LatencyAwareScheduler
from src.inference.step_result import PropagatedFrame, StepResult
from src.inference.stream_checks import enforce
from src.models.fusion import FusionRule
from src.models.propagator import Propagator
from src.ops.device import synchronize
from src.ops.masks import MapSize
from src.structures import FusedKey, KeyFrameState, MaskPrediction

Mode = Literal["online", "offline"]
"""online: frames are labelled at once, from the key frame before. offline: an interval late, from both neighboring key frames."""


class StreamingSegmentor(FrameNetworks):
    """Frame-by-frame segmentation of video; prediction, evaluation and the demo run this class.

    The object holds no stream state: :meth:`step` takes the state of a stream and returns the next one, so that one object serves
    any number of streams. Every non-key frame is warped directly from its key frames, never chained (paper, section 3.1).

    Args:
        propagator: network; switched to eval mode here.
        scheduler: scheduler that selects the key frames, before later frames are read.
        short_side, max_long_side, autocast, compile, map_size, runtime: see
            :class:`src.inference.frame_networks.FrameNetworks`.
        clock: clock in seconds that times steps for a :class:`LatencyAwareScheduler`.
        mode: ``online``, or ``offline`` for :meth:`label_frames` and :meth:`stream` of recorded video: results are late by at
            most one interval, and memory holds the frames of one interval and three key frames.
        fusion: rule that fuses the masks of several key frames.
        fuse_keys: whether key frames are fused with the masks that the key frame before, offline also the one after, carries to
            them. Propagation starts from their own masks. Nothing is carried across a scene cut.
        reset_at_cuts: whether a recurrent segmentor starts anew at scene cuts.

    Raises:
        ValueError: if an option is unknown or out of range, or a recurrent segmentor runs offline or with fused key frames.
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
        mode: Mode = "online",
        fusion: FusionRule = "photometric",
        fuse_keys: bool = False,
        runtime: RuntimeName | Runtimes = "eager",
        reset_at_cuts: bool = False,
    ) -> None:
        super().__init__(propagator, short_side, max_long_side, autocast, compile, map_size, runtime)
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}; expected {' or '.join(get_args(Mode))}")
        propagator.check_fusion(fusion)
        if propagator.recurrent and (mode != "online" or fuse_keys):
            raise ValueError(f"a recurrent segmentor runs with mode={mode}, fuse_keys={fuse_keys}; expected online and false")
        self._scheduler = scheduler
        self.clock = clock
        self.mode: Mode = mode
        self.fusion: FusionRule = fusion
        self.fuse_keys = fuse_keys
        self.reset_at_cuts = reset_at_cuts

    @property
    def scheduler(self) -> KeyFrameScheduler:
        """Scheduler that selects the key frames; fixed for the life of this object."""
        return self._scheduler

    @property
    def delays(self) -> bool:
        """True offline, where results are late."""
        return self.mode == "offline"

    @property
    def sources(self) -> tuple[int, int]:
        """Number of key frames whose masks reach a non-key frame, and a key frame from elsewhere, within a scene."""
        neighbors = 2 if self.mode == "offline" else 1
        return max(neighbors, 1 + self.fuse_keys), neighbors if self.fuse_keys else 0

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
        image, networks = image_batch(image), self.queueing()
        result = networks.predict(image, state)
        maps = result.semantic_map((image.shape[-2], image.shape[-1]))
        enforce(networks.take_checks())
        if isinstance(self.scheduler, LatencyAwareScheduler):
            synchronize(maps.device)
        return maps, self.record_latency(result.state, self.clock() - started)

    def label_frames(self, frames: Iterable[FrameInput], wait: bool = True) -> Iterator[PropagatedFrame]:
        """Label the frames of one video, in order, in constant memory: online as they arrive, offline late.

        Offline, the frames after the last key frame are labelled from it, once ``frames`` has ended. Results depend only on the
        frames.

        Args:
            frames: images of :meth:`step`, of one stream.
            wait: see :class:`src.inference.step_result.LabelStream`; true where latencies select the key frames.

        Raises:
            ValueError: see :meth:`step`.
        """
        if isinstance(frames, Sized):
            self.expect(len(frames))
        images, networks = map(one_image, frames), self.queueing()
        wait = wait or isinstance(self.scheduler, LatencyAwareScheduler)
        if self.mode == "offline":
            return label_offline(networks, self.scheduler, images, self.fusion, self.fuse_keys, self.clock, wait)
        return networks._label_online(images, wait)

    def stream(self, frames: Iterable[FrameInput]) -> Iterator[Tensor]:
        """Yield semantic_map (H, W) int64 of each frame of one video; see :meth:`label_frames`."""
        for result in self.label_frames(frames):
            yield result.semantic_map[0]

    @torch.inference_mode()
    def _label_online(self, images: Iterable[Tensor], wait: bool) -> Iterator[PropagatedFrame]:
        state: KeyFrameState | None = None
        for image in images:
            started = self.clock()
            result = self.predict(image, state)
            maps = result.semantic_map((image.shape[-2], image.shape[-1]))
            checks = self.take_checks()
            if wait:
                checks = enforce(checks, maps.device)
            seconds = self.clock() - started
            state = self.record_latency(result.state, seconds)
            yield PropagatedFrame(maps, seconds, replace(result, state=state), checks=checks)

    @torch.inference_mode()
    def predict(self, image: FrameInput, state: KeyFrameState | None) -> StepResult:
        """Run :meth:`step`, whose arguments and errors these are, without post-processing and without timing."""
        self._check_online()
        image, (decision, change) = self.prepare(image, lambda new: (self.scheduler.decide(new, state), self.change(new, state)))
        if state is None or decision.reason is not None:
            _, key = self.segment_resized(image, [0 if state is None else state.index + 1], self.memory(state, change))
            result = StepResult(key.prediction, None, key, self.map_size)
        else:
            result = self.propagate_resized(image, state, [state.index + 1])
        result = replace(result, state=replace(result.state, reason=decision.reason, schedule=decision.schedule))
        return self.fuse_with_past(result, image, state, change)

    def change(self, image: Tensor, before: KeyFrameState | None) -> ChangeState | None:
        """Return the change of the stream's images, where scene cuts matter; arguments as of :meth:`fuse_with_past`."""
        return next_change(image, before) if self.fuse_keys or self.reset_at_cuts else None

    def memory(self, before: KeyFrameState | None, change: ChangeState | None) -> Tensor | None:
        """Return the memory (1, Q, C) from which a key frame starts; arguments as of :meth:`fuse_with_past`."""
        if before is None or not self.propagator.recurrent or (self.reset_at_cuts and change is not None and change.cut):
            return None
        return before.prediction.memory

    @torch.inference_mode()
    def fuse_with_past(
        self, result: StepResult, image: Tensor, before: KeyFrameState | None, change: ChangeState | None
    ) -> StepResult:
        """With ``fuse_keys``, fuse a key frame with the masks that the key frame before carries to it, unless a cut lies between.

        The frames that follow receive the fused masks; the next key frame receives only the own ones, so that nothing grows with
        the number of key frames. Without ``fuse_keys`` or ``reset_at_cuts``, the result is unchanged.

        Args:
            result: result of the next frame of one stream.
            image: (1, 3, H, W), that frame at network size.
            before: state of the stream before the frame; ``None`` at its start.
            change: result of :meth:`change`.
        """
        if change is None:
            return result
        kept = change.reset() if result.is_key else change
        result = replace(result, state=replace(result.state, change=kept))
        if before is None or not self.fuse_keys:
            return result
        if not result.is_key:
            return self._carry_fused(result, before.fused)
        if change.cut:
            return result
        (fused,) = label_targets(self, [Target(image, result.state, (before,), result.prediction)], self.fusion)
        carried_on = None if fused.prediction.shares is None else FusedKey(fused.prediction, fused.offsets)
        return replace(result, prediction=fused.prediction, offsets=fused.offsets, state=replace(result.state, fused=carried_on))

    def _carry_fused(self, result: StepResult, fused: FusedKey | None) -> StepResult:
        if fused is None or result.flow is None:
            return result
        prediction = self.propagator.propagate_fused(fused.prediction, result.prediction, result.flow)
        offsets = tuple(offset - result.state.age for offset in fused.offsets)
        return replace(result, prediction=prediction, offsets=offsets)

    def segment_key(self, image: FrameInput, state: KeyFrameState | None = None) -> tuple[MaskPrediction, KeyFrameState]:
        """Segment a frame regardless of the scheduler, and make it the key frame of the following ones."""
        return self.segment_resized(self.resize(image), [0 if state is None else state.index + 1])

    def propagate(self, image: FrameInput, state: KeyFrameState) -> StepResult:
        """Propagate the key frame's masks to a frame regardless of the scheduler; errors are those of :meth:`step`."""
        return self.propagate_resized(self.resize(image), state, [state.index + 1])

    def record_latency(self, state: KeyFrameState, seconds: float) -> KeyFrameState:
        """Update the scheduler's part of a state by the latency of its step, from the decoded frame to its label map.

        :meth:`step` and :meth:`label_frames` call this; callers of :meth:`predict` call it themselves.
        """
        if not isinstance(self.scheduler, LatencyAwareScheduler):
            return state
        return replace(state, schedule=self.scheduler.record_latency(state, 1e3 * seconds))

    def _check_online(self) -> None:
        if self.mode != "online":
            raise ValueError("mode is 'offline', where results are late; expected 'online' for single steps; use label_frames")
