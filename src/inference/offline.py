"""Offline inference: every frame of a recorded video is labelled from the key frames before and after it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from src.inference.frame_networks import FrameNetworks
from src.inference.neighbors import Target, label_targets, target_batches
from src.inference.scheduling.change import CUTS, ChangeState
from src.inference.scheduling.scheduler import Decision, KeyFrameScheduler, LatencyAwareScheduler
from src.inference.step_result import PropagatedFrame
from src.inference.stream_checks import check_size, enforce
from src.models.fusion import FusionRule
from src.ops.device import synchronize
from src.structures import KeyFrameState, Size


@dataclass(frozen=True)
class HeldFrame:
    """Frame that waits for a later key frame, or is ready to be labelled.

    Attributes:
        target: frame at network size, and the key frames to carry masks from.
        size: (H, W) of the label map.
        seconds: time spent on the frame so far.
        scene: number of scene cuts up to the frame.
    """

    target: Target
    size: Size
    seconds: float
    scene: int

    def carried_from(self, *keys: "HeldFrame | None") -> "HeldFrame":
        """Return the frame with those key frames of its scene as sources."""
        same = tuple(key.target.state for key in keys if key is not None and key.scene == self.scene)
        return replace(self, target=replace(self.target, keys=same))


class OfflineWindow:
    """Frames of one video that wait for a later key frame: those of one interval, and up to three key frames.

    For every frame call :meth:`decide`, then :meth:`add_key` for a key frame or :meth:`hold` for another; after the last one,
    :meth:`finish`.

    Args:
        fuse_keys: whether key frames are fused with what their neighbors carry to them; they then wait for the next key frame.
    """

    def __init__(self, fuse_keys: bool) -> None:
        self.fuse_keys = fuse_keys
        self.state: KeyFrameState | None = None
        self._change: ChangeState | None = None
        self._scene = 0
        self._keys: list[HeldFrame] = []  # the last two, in time order
        self._waiting: list[HeldFrame] = []

    @property
    def index(self) -> int:
        """Number of the next frame."""
        return 0 if self.state is None else self.state.index + 1

    def decide(self, image: Tensor, scheduler: KeyFrameScheduler) -> Decision:
        """Decide about the next frame, (1, 3, H, W) at network size, as online.

        Raises:
            ValueError: if the frame differs in size from the video's frames before.
        """
        if self.state is not None:
            check_size(image, self.state)
        change = CUTS.update_change(image, self._change)
        self._scene += change.cut
        self._change = replace(change, cut=False)
        return scheduler.decide(image, self.state)

    def hold(self, image: Tensor, size: Size, decision: Decision, seconds: float) -> None:
        """Add a non-key frame."""
        assert self.state is not None
        state = replace(self.state, index=self.index, age=self.state.age + 1, reason=None, schedule=decision.schedule)
        self.state = state
        self._waiting.append(HeldFrame(Target(image, state, ()), size, seconds, self._scene))

    def add_key(self, key: KeyFrameState, size: Size, decision: Decision, seconds: float) -> list[HeldFrame]:
        """Add a key frame, and return the frames that it completes, in order."""
        state = replace(key, reason=decision.reason, schedule=decision.schedule)
        self.state = state
        new = HeldFrame(Target(state.image, state, (), state.prediction), size, seconds, self._scene)
        ready = self._since_last_key(new)
        self._keys = [*self._keys[-1:], new]
        return ready if self.fuse_keys else [*ready, new]

    def finish(self) -> list[HeldFrame]:
        """Return the frames after the last key frame, and with ``fuse_keys`` that key frame; the window is then empty."""
        ready = self._since_last_key(None)
        self._keys.clear()
        return ready

    def _since_last_key(self, new: HeldFrame | None) -> list[HeldFrame]:
        """Return the last key frame, if it waits, and the frames after it."""
        if not self._keys:
            return []
        key, before = self._keys[-1], self._keys[-2] if len(self._keys) > 1 else None
        ready = [key.carried_from(before, new)] if self.fuse_keys else []
        for frame in self._waiting:
            sources = frame.carried_from(key, new)
            # After a cut that no key frame of the scene follows, the key frame before the cut is better than nothing.
            ready.append(
                sources if sources.target.keys else replace(frame, target=replace(frame.target, keys=(key.target.state,)))
            )
        self._waiting.clear()
        return ready

    def record_latency(self, scheduler: KeyFrameScheduler, frame: KeyFrameState, seconds: float) -> None:
        """Update the scheduler's state by the latency of a labelled frame."""
        if isinstance(scheduler, LatencyAwareScheduler) and self.state is not None:
            # The decisions continue from the latest frame; the kind of frame is that of the labelled one.
            measured = replace(self.state, reason=frame.reason)
            self.state = replace(self.state, schedule=scheduler.record_latency(measured, 1e3 * seconds))


def label_held(
    networks: FrameNetworks, frames: Sequence[HeldFrame], rule: FusionRule, clock: Callable[[], float], wait: bool = True
) -> Iterator[PropagatedFrame]:
    """Label frames whose sources are complete; results are in order. The pairs of a batch share the time of its networks.

    ``wait`` is that of :meth:`src.inference.streaming.StreamingSegmentor.label_frames`.
    """
    waiting = iter(frames)
    for batch in target_batches([frame.target for frame in frames]):
        started = clock()
        results = list(label_targets(networks, batch, rule))
        if wait:
            synchronize(batch[0].image.device)
        per_pair = (clock() - started) / max(1, sum(len(target.keys) for target in batch))
        for result, frame in zip(results, waiting, strict=False):
            started = clock()
            maps = result.semantic_map(frame.size)
            checks = networks.take_checks()
            if wait:
                checks = enforce(checks, maps.device)
            seconds = frame.seconds + per_pair * len(frame.target.keys) + clock() - started
            yield PropagatedFrame(maps, seconds, result, checks=checks)


@torch.inference_mode()
def label_offline(
    networks: FrameNetworks,
    scheduler: KeyFrameScheduler,
    frames: Iterable[Tensor],
    rule: FusionRule,
    fuse_keys: bool,
    clock: Callable[[], float],
    wait: bool = True,
) -> Iterator[PropagatedFrame]:
    """Label the frames (1, 3, H, W) of one video from both neighboring key frames, one interval late.

    See :class:`src.inference.streaming.StreamingSegmentor` for the arguments.
    """
    window = OfflineWindow(fuse_keys)

    def labelled(ready: Sequence[HeldFrame]) -> Iterator[PropagatedFrame]:
        for one in label_held(networks, ready, rule, clock, wait):
            window.record_latency(scheduler, one.result.state, one.seconds)
            yield one

    for frame in frames:
        started = clock()
        size = (frame.shape[-2], frame.shape[-1])
        image, decision = networks.prepare(frame, lambda resized: window.decide(resized, scheduler))
        if window.state is not None and decision.reason is None:
            window.hold(image, size, decision, clock() - started)
            continue
        _, key = networks.segment_resized(image, [window.index])
        if wait:
            synchronize(image.device)
        yield from labelled(window.add_key(key, size, decision, clock() - started))
    yield from labelled(window.finish())
