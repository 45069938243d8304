"""From a source of frames to labelled frames: decoding, inference and writing at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from src.inference.streaming import StreamingSegmentor
from src.inference.video.pipeline import run_pipeline
from src.inference.video.sources import Frame, FrameSource
from src.ops.segment_flow import winning_flow
from src.ops.warp import disoccluded
from src.structures import KeyFrameState, KeyReason


@dataclass(frozen=True)
class LabelledFrame:
    """One frame and what was found in it; everything on the CPU.

    Attributes:
        frame: as the source gave it.
        semantic_map: (H, W) uint8 or, for more than 256 classes, int32, 0..K-1.
        is_key: whether it was segmented anew.
        flow: (2, h, w) float32, motion to its key frame in pixels of the image that the network saw; ``None`` on a key frame and
            where nobody asked for it.
        reason: why it was segmented; ``None`` where it was not.
        seconds: what the networks and their post-processing took, on the clock; decoding and writing went on beside it.
        new_share: share of the picture that the flow estimator finds nothing for in the key frame, 0..1; ``None`` on a key frame
            and of an estimator that does not say.
        new: (h, w) float32 in 0..1, the same for each pixel of the image that the network saw; comes with the flow.
    """

    frame: Frame
    semantic_map: Tensor
    is_key: bool
    flow: Tensor | None
    reason: KeyReason | None
    seconds: float
    new_share: float | None = None
    new: Tensor | None = None


@dataclass(frozen=True)
class PredictionProgress:
    """How far a prediction is.

    Attributes:
        frames: labelled so far.
        key_frames: of them, segmented anew.
        position: seconds of the video done.
        elapsed: seconds since the start, on the clock.
        step_seconds: of them, in the networks and their post-processing.
    """

    frames: int
    key_frames: int
    position: float
    elapsed: float
    step_seconds: float = 0.0

    @property
    def fps(self) -> float:
        """Frames per second so far."""
        return self.frames / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def milliseconds(self) -> float:
        """Per frame, in the networks and their post-processing: the mean, which a budget in milliseconds is about."""
        return 1e3 * self.step_seconds / self.frames if self.frames else 0.0

    @property
    def key_share(self) -> float:
        """Share of key frames, 0..1."""
        return self.key_frames / self.frames if self.frames else 0.0


class FrameLabeller:
    """Labels the frames of one video in order. A change of size within the video starts a new stream.

    Args:
        stream: the segmentor.
        with_flow: whether results hold the flow.
    """

    def __init__(self, stream: StreamingSegmentor, with_flow: bool = False) -> None:
        self._stream = stream
        self._with_flow = with_flow
        self._state: KeyFrameState | None = None
        self._size: torch.Size | None = None
        self._dtype = torch.uint8 if stream.propagator.segmentor.num_classes <= 256 else torch.int32

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> LabelledFrame:
        """Label the next frame."""
        started = self._stream.clock()
        if frame.image.shape != self._size:
            self._state, self._size = None, frame.image.shape
        result = self._stream.predict(frame.image[None], self._state)
        labels = result.semantic_map((frame.image.shape[-2], frame.image.shape[-1]))[0].to(self._dtype).cpu()
        # The copy waited for the device. What follows is for pictures alone.
        seconds = self._stream.clock() - started
        self._state = self._stream.record_latency(result.state, seconds)
        reason = result.state.reason if result.is_key else None
        labelled = LabelledFrame(frame, labels, result.is_key, None, reason, seconds)
        if result.flow is None:
            return labelled
        new = disoccluded(result.flow, result.prediction.image_size)
        if new is not None:
            labelled = replace(labelled, new_share=float(new.mean()))
        if self._with_flow:
            flow = winning_flow(result.prediction, result.flow)[0].cpu()
            labelled = replace(labelled, flow=flow, new=None if new is None else new[0].cpu())
        return labelled


def predict_video(
    stream: StreamingSegmentor,
    source: FrameSource,
    consume: Callable[[LabelledFrame], None],
    *,
    with_flow: bool = False,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[PredictionProgress], None] | None = None,
    depth: int = 4,
) -> PredictionProgress:
    """Label a whole source in constant memory. Three threads: the source's, this one for the networks, and ``consume``'s.

    What was broken in the source stands in ``source.faults`` afterwards.

    Args:
        stream: the segmentor.
        source: of the frames.
        consume: called with every labelled frame, in order, in a thread of its own.
        with_flow: whether results hold the flow.
        max_frames: the first so many alone.
        stop: once set, the frame at hand is the last.
        progress: called after every frame.
        depth: how many frames wait between two threads at most.

    Returns:
        The final state.
    """
    label = FrameLabeller(stream, with_flow)
    started = time.perf_counter()
    done = PredictionProgress(0, 0, 0.0, 0.0)

    def work(frame: Frame) -> LabelledFrame:
        nonlocal done
        result = label(frame)
        position = float(frame.time + frame.duration)
        elapsed = time.perf_counter() - started
        spent = done.step_seconds + result.seconds
        done = PredictionProgress(done.frames + 1, done.key_frames + result.is_key, position, elapsed, spent)
        if progress is not None:
            progress(done)
        return result

    run_pipeline(_first(source, max_frames), work, consume, depth, stop)
    return replace(done, elapsed=time.perf_counter() - started)


def _first(source: FrameSource, count: int | None) -> Iterator[Frame]:
    frames = iter(source)
    try:
        yield from islice(frames, count)
    finally:
        # Not left to the garbage collector, which may run in any thread.
        close = getattr(frames, "close", None)
        if close is not None:
            close()
