"""Prediction of a whole frame source, with decoding, inference and writing in parallel."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
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
class FramePrediction:
    """Prediction for one frame, on the CPU.

    Attributes:
        frame: frame of the source.
        semantic_map: (H, W) uint8 or, for more than 256 classes, int32, 0..K-1.
        is_key: whether the frame is a key frame.
        flow: (2, h, w) float32, motion to the key frame, pixels of the image that the network received; ``None`` on a key frame
            and unless requested.
        reason: reason for a key frame; ``None`` on other frames.
        seconds: wall-clock time of the networks and their post-processing; decoding and writing run in parallel.
        disoccluded_share: share of the image without a source in the key frame, 0..1; ``None`` on a key frame and for a flow
            estimator without confidence.
        disoccluded: (h, w) float32, the same per pixel of the image that the network received, 0..1; requested with the flow.
    """

    frame: Frame
    semantic_map: Tensor
    is_key: bool
    flow: Tensor | None
    reason: KeyReason | None
    seconds: float
    disoccluded_share: float | None = None
    disoccluded: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory, bytes."""
        tensors = (self.frame.image, self.semantic_map, self.flow, self.disoccluded)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


@dataclass(frozen=True)
class PredictionProgress:
    """Progress of a prediction.

    Attributes:
        position: end of the last predicted frame, seconds of the video.
        elapsed: wall-clock seconds since the start.
        step_seconds: part of ``elapsed`` spent in the networks and their post-processing.
    """

    frames: int
    key_frames: int
    position: float
    elapsed: float
    step_seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.frames} frames, {self.fps:.1f} fps, {self.key_share:.0%} key frames"

    @property
    def fps(self) -> float:
        """Frames per wall-clock second."""
        return self.frames / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def milliseconds(self) -> float:
        """Mean time of the networks and their post-processing per frame, which a budget in milliseconds limits."""
        return 1e3 * self.step_seconds / self.frames if self.frames else 0.0

    @property
    def key_share(self) -> float:
        """Share of key frames, 0..1."""
        return self.key_frames / self.frames if self.frames else 0.0


class FramePredictor:
    """Predictor for the frames of one video in order, on request with flow. A change of the frame size starts a new stream."""

    def __init__(self, stream: StreamingSegmentor, with_flow: bool = False) -> None:
        self._stream = stream
        self._with_flow = with_flow
        self._state: KeyFrameState | None = None
        self._size: torch.Size | None = None
        self._dtype = torch.uint8 if stream.propagator.segmentor.num_classes <= 256 else torch.int32

    @torch.inference_mode()
    def __call__(self, frame: Frame) -> FramePrediction:
        """Predict the next frame."""
        started = self._stream.clock()
        if frame.image.shape != self._size:
            self._state, self._size = None, frame.image.shape
        result = self._stream.predict(frame.image[None], self._state)
        labels = result.semantic_map((frame.image.shape[-2], frame.image.shape[-1]))[0].to(self._dtype).cpu()
        # The copy waited for the device. The rest is for visualization only.
        seconds = self._stream.clock() - started
        self._state = self._stream.record_latency(result.state, seconds)
        reason = result.state.reason if result.is_key else None
        flow = mask = share = None
        if result.flow is not None:
            mask = disoccluded(result.flow, result.prediction.image_size)
            share = None if mask is None else float(mask.mean())
            mask = None if mask is None or not self._with_flow else mask[0].cpu()
            flow = winning_flow(result.prediction, result.flow)[0].cpu() if self._with_flow else None
        return FramePrediction(frame, labels, result.is_key, flow, reason, seconds, share, mask)


def predict_video(
    stream: StreamingSegmentor,
    source: FrameSource,
    consume: Callable[[FramePrediction], None],
    *,
    with_flow: bool = False,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[PredictionProgress], None] | None = None,
    depth: int = 4,
) -> PredictionProgress:
    """Predict a whole source in constant memory, in three threads: decoding, networks (the calling thread) and ``consume``.

    ``source.decode_errors`` is complete afterwards, unless the prediction was stopped or limited.

    Args:
        stream: streaming segmentor.
        source: frames to predict.
        consume: called with every prediction, in order, in its own thread.
        with_flow: whether predictions contain the flow.
        max_frames: maximum number of frames; ``None`` for all.
        stop: once set, the current frame is the last.
        progress: called after every frame, and its last value is returned.
        depth: maximum number of frames that wait between two threads.
    """
    predict = FramePredictor(stream, with_flow)
    started = time.perf_counter()
    done = PredictionProgress(0, 0, 0.0, 0.0)

    def work(frames: Iterator[Frame]) -> Iterator[FramePrediction]:
        nonlocal done
        for result in map(predict, frames):
            position = float(result.frame.time + result.frame.duration)
            elapsed = time.perf_counter() - started
            step_seconds = done.step_seconds + result.seconds
            done = PredictionProgress(done.frames + 1, done.key_frames + result.is_key, position, elapsed, step_seconds)
            if progress is not None:
                progress(done)
            yield result
            del result

    frames = _first_frames(source, max_frames)
    run_pipeline(frames, work, consume, depth, stop, lambda frame: frame.image.nbytes, lambda result: result.nbytes)
    return replace(done, elapsed=time.perf_counter() - started)


def _first_frames(source: FrameSource, count: int | None) -> Iterator[Frame]:
    # Closed here and not by the garbage collector, which may run in any thread.
    with closing(iter(source)) as frames:
        yield from islice(frames, count)
