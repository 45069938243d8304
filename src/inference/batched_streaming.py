"""Batched inference of several streams with independent key frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from src.inference.batches import concatenate_states, groups, key_row, propagated_row
from src.inference.frame_input import FrameInput, image_batch
from src.inference.offline import HeldFrame, OfflineWindow, label_held
from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.step_result import PropagatedFrame, StepResult
from src.inference.streaming import StreamingSegmentor
from src.structures import KeyFrameState


@torch.inference_mode()
def step_streams(
    stream: StreamingSegmentor,
    images: Sequence[FrameInput],
    states: Sequence[KeyFrameState | None],
    schedulers: Sequence[KeyFrameScheduler] | None = None,
) -> list[StepResult]:
    """Advance several streams by one frame: key frames are segmented as one batch, the other frames propagated as one.

    Streams are independent: each has its own state and key frames, starts and ends at any time, and has its own size (each size
    is a separate batch). A single stream gives the bits of :meth:`StreamingSegmentor.predict`; several streams do as far as the
    networks compute each row of a batch as they compute a single one, since larger batches may be rounded differently. Compiled
    networks are recompiled for each new batch size. Millisecond budgets are not updated from batch times: they keep their first
    estimate of the costs.

    Args:
        stream: segmentor.
        images: the next frame of every stream, one image of :meth:`StreamingSegmentor.step` each.
        states: states returned by the previous call for the same streams; ``None`` for a stream that begins.
        schedulers: scheduler of each stream; ``None``: the segmentor's for all.

    Returns:
        One result per stream, with B = 1.

    Raises:
        ValueError: if images, states and schedulers differ in number, or see :meth:`StreamingSegmentor.predict`.
    """
    frames, schedulers = _checked(stream, images, len(states), schedulers)
    decisions = [scheduler.decide(image, state) for scheduler, image, state in zip(schedulers, frames, states, strict=True)]
    propagated = {n: state for n, state in enumerate(states) if state is not None and decisions[n].reason is None}
    results: dict[int, StepResult] = {}
    for batch in groups({n: (frames[n].shape, frames[n].dtype, state.image.shape) for n, state in propagated.items()}):
        numbers = [propagated[n].index + 1 for n in batch]
        together = concatenate_states([propagated[n] for n in batch])
        batched = stream.propagate_resized(torch.cat([frames[n] for n in batch]), together, numbers)
        results |= {n: propagated_row(batched, row, propagated[n]) for row, n in enumerate(batch)}
    keys = _segment(stream, {n: (frame, states[n]) for n, frame in enumerate(frames) if n not in propagated})
    results |= {n: StepResult(key.prediction, None, key, stream.map_size) for n, key in keys.items()}
    for n, made in enumerate(decisions):
        state = replace(results[n].state, reason=made.reason, schedule=made.schedule)
        results[n] = stream.fuse_with_past(
            replace(results[n], state=state), frames[n], states[n], stream.change(frames[n], states[n])
        )
    return [results[n] for n in range(len(frames))]


@torch.inference_mode()
def step_windows(
    stream: StreamingSegmentor,
    images: Sequence[FrameInput],
    windows: Sequence[OfflineWindow],
    schedulers: Sequence[KeyFrameScheduler] | None = None,
) -> list[list[PropagatedFrame]]:
    """Advance several offline streams by one frame; key frames are segmented as one batch, and pairs propagated in batches.

    Args:
        stream: segmentor; its mode is not used.
        images: see :func:`step_streams`.
        windows: one of each stream, changed here; ``OfflineWindow(fuse_keys)`` for a stream that begins.
        schedulers: see :func:`step_streams`.

    Returns:
        The frames of each stream that have become complete; after the last frame of a stream, :func:`finish_windows` returns the
        rest.
    """
    frames, schedulers = _checked(stream, images, len(windows), schedulers)
    sizes = [(shape[-2], shape[-1]) for shape in (image_batch(image).shape for image in images)]
    decisions = [one.decide(frame, scheduler) for one, frame, scheduler in zip(windows, frames, schedulers, strict=True)]
    chosen = [n for n, window in enumerate(windows) if window.state is None or decisions[n].reason is not None]
    keys = _segment(stream, {n: (frames[n], windows[n].state) for n in chosen})
    ready: list[list[HeldFrame]] = [[] for _ in windows]
    for n, window in enumerate(windows):
        if n in keys:
            ready[n] = window.add_key(keys[n], sizes[n], decisions[n], 0.0)
        else:
            window.hold(frames[n], sizes[n], decisions[n], 0.0)
    return _label(stream, ready)


def finish_windows(stream: StreamingSegmentor, windows: Sequence[OfflineWindow]) -> list[list[PropagatedFrame]]:
    """Label what the streams of :func:`step_windows` hold back at their end."""
    return _label(stream, [window.finish() for window in windows])


def _checked(
    stream: StreamingSegmentor, images: Sequence[FrameInput], streams: int, schedulers: Sequence[KeyFrameScheduler] | None
) -> tuple[list[Tensor], Sequence[KeyFrameScheduler]]:
    schedulers = [stream.scheduler] * len(images) if schedulers is None else schedulers
    if not len(images) == streams == len(schedulers):
        raise ValueError(
            f"found {len(images)} images, {streams} states and {len(schedulers)} schedulers; expected one of each per stream"
        )
    frames = [stream.resize(image) for image in images]
    if wrong := [tuple(frame.shape) for frame in frames if len(frame) != 1]:
        raise ValueError(f"a frame is {wrong[0]}; expected one image for each stream")
    return frames, schedulers


def _segment(stream: StreamingSegmentor, frames: Mapping[int, tuple[Tensor, KeyFrameState | None]]) -> dict[int, KeyFrameState]:
    """Segment the frames of streams, given with the streams' states, by number; each size is a batch."""
    keys = {}
    memories = {n: stream.memory(state, stream.change(frame, state)) for n, (frame, state) in frames.items()}
    for batch in groups({n: (frame.shape, frame.dtype, memories[n] is None) for n, (frame, _) in frames.items()}):
        states = [frames[n][1] for n in batch]
        numbers = [0 if state is None else state.index + 1 for state in states]
        together = [memory for n in batch if (memory := memories[n]) is not None]
        _, key = stream.segment_resized(
            torch.cat([frames[n][0] for n in batch]), numbers, torch.cat(together) if together else None
        )
        keys.update({n: key_row(key, row, frames[n][0], states[row]) for row, n in enumerate(batch)})
    return keys


def _label(stream: StreamingSegmentor, ready: Sequence[Sequence[HeldFrame]]) -> list[list[PropagatedFrame]]:
    together = [frame for frames in ready for frame in frames]
    labelled = label_held(stream, together, stream.fusion, stream.clock)
    return [list(islice(labelled, len(frames))) for frames in ready]
