"""Prediction of a whole frame source, with decoding, inference and writing in parallel."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.inference.runtime.transfers import Arriving, Mark, is_queued, one_late
from src.inference.step_result import LabelledFrame, LabelStream
from src.inference.video.live.latest import LiveFrames
from src.inference.video.pipeline import run_pipeline
from src.inference.video.progress import PredictionProgress as PredictionProgress
from src.inference.video.sources import Frame, FrameSource, expect_frames, first_frames
from src.structures import KeyReason, MaskPrediction


@dataclass(frozen=True)
class FramePrediction:
    """Prediction for one frame, on the CPU.

    Attributes:
        frame: frame of the source.
        semantic_map: (H, W) uint8 or, for more than 256 classes, int32, 0..K-1.
        is_key: whether the frame is a key frame.
        flow: (2, h, w) float32, motion to the key frame before, pixels of the image that the network received; ``None`` on a key
            frame and unless requested.
        reason: reason for a key frame; ``None`` on other frames.
        seconds: wall-clock time of the networks and their post-processing; decoding and writing run in parallel.
        disoccluded_share: share of the image without a source in the key frame before, 0..1; ``None`` on a key frame and for a
            flow estimator without confidence.
        disoccluded: (h, w) float32, the same per pixel of the image that the network received, 0..1; requested with the flow.
        offsets: see :class:`~src.inference.step_result.StepResult`.
        masks: masks and classes that scores are computed from, on the network's device; ``None`` unless requested.
        confidence: (H, W) float32, 0..1, see :func:`src.ops.masks.semantic_confidence`; ``None`` unless requested.
    """

    frame: Frame
    semantic_map: Tensor
    is_key: bool
    flow: Tensor | None
    reason: KeyReason | None
    seconds: float
    disoccluded_share: float | None = None
    disoccluded: Tensor | None = None
    offsets: tuple[int, ...] = (0,)
    masks: MaskPrediction | None = None
    confidence: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory without ``masks``, bytes."""
        tensors = (self.frame.image, self.semantic_map, self.flow, self.disoccluded, self.confidence)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def class_shares(self, num_classes: int) -> NDArray[np.float64]:
        """Return the share of the pixels of every class, (K,) in 0..1; the background of a single class is left out."""
        labels = self.semantic_map.numpy()
        # The background of a single class is a further value.
        shares: NDArray[np.float64] = np.bincount(labels.ravel(), minlength=num_classes)[:num_classes] / labels.size
        return shares


class FramePredictor:
    """Predictor of the frames of one video in order. Another frame size or ``Frame.part`` starts a new stream.

    Attributes:
        held: frames whose results are not there yet; offline those of one interval.
    """

    def __init__(
        self,
        stream: LabelStream,
        with_flow: bool = False,
        with_masks: bool = False,
        with_confidence: bool = False,
        late: bool = False,
    ) -> None:
        self._stream = stream
        self._late = late and is_queued(stream.device)
        self._since = Mark(stream.device)
        self._with_flow, self._with_masks, self._with_confidence = with_flow, with_masks, with_confidence
        self._dtype = torch.uint8 if stream.num_classes <= 256 else torch.int32
        self.held: deque[Frame] = deque()

    @torch.inference_mode()
    def __call__(self, frames: Iterable[Frame]) -> Iterator[FramePrediction]:
        """Yield the prediction of every frame, in order, offline one interval late."""
        for _, of_one_stream in groupby(frames, lambda frame: (frame.image.shape, frame.part)):
            labelled = self._stream.label_frames(map(self._hold, of_one_stream), wait=not self._late)
            results = (self._prediction(self.held.popleft(), one) for one in labelled)
            yield from one_late(results) if self._late else map(Arriving.fetch, results)

    def _hold(self, frame: Frame) -> Tensor:
        self.held.append(frame)
        self._since = Mark(self._stream.device)
        return frame.image

    def _prediction(self, frame: Frame, labelled: LabelledFrame) -> Arriving[FramePrediction]:
        one, since, (flow, mask, share) = labelled, self._since, labelled.motion(self._with_flow)
        confidence, masks = one.confidence() if self._with_confidence else None, one.masks if self._with_masks else None

        # Without a reference to the result that calls it: a cycle would keep the frame until it is collected.
        def finish(host: list[Tensor | None], there: Mark) -> FramePrediction:
            labels, flow, mask, share, confidence, *passed = host
            for check, verdict in zip(one.checks, passed, strict=True):
                check.enforce(verdict)
            assert labels is not None
            seconds = since.seconds_until(there) if self._late else one.seconds
            part, kind, offsets = None if share is None else float(share), one.is_key, one.offsets
            return FramePrediction(frame, labels, kind, flow, one.reason, seconds, part, mask, offsets, masks, confidence)

        tensors = [one.semantic_map[0].to(self._dtype), flow, mask, share, confidence, *(check.passed for check in one.checks)]
        arriving = Arriving(tensors, self._stream.device, finish)
        self._since = arriving.mark
        return arriving


def predict_video(
    stream: LabelStream,
    source: FrameSource,
    consume: Callable[[FramePrediction], None],
    *,
    with_flow: bool = False,
    with_confidence: bool = False,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[PredictionProgress], None] | None = None,
    depth: int = 4,
    late: bool = False,
) -> PredictionProgress:
    """Predict a whole source in constant memory, in three threads: decoding, networks (the calling thread) and ``consume``.

    Offline, memory holds the frames of one interval. ``source.decode_errors`` is complete afterwards, unless the prediction was
    stopped or limited.

    Args:
        stream: stream of the network.
        source: frames to predict.
        consume: called with every prediction, in order, in its own thread.
        with_flow: whether predictions contain the flow.
        with_confidence: whether predictions contain the confidence.
        max_frames: maximum number of frames; ``None`` for all.
        max_seconds: frames from that time on are left out; ``None``: none.
        stop: once set, only the frames that wait for a later key frame are still predicted, from the past.
        progress: called after every predicted frame, and for every frame that is read while others wait; the last value is
            returned.
        depth: maximum number of frames that wait between two threads.
        late: on CUDA, results and errors of a frame are fetched once the next one is queued, and nothing waits inside a frame.
    """
    expect_frames(stream, source, max_frames)
    predictor = FramePredictor(stream, with_flow, with_confidence=with_confidence, late=late)
    meter = _Meter(predictor, source, progress)
    if isinstance(source, LiveFrames):
        # Taken when the networks are free, and not ahead, so that each is the newest one; the source has its own thread.
        newest = first_frames(source.until(stop or threading.Event()), max_frames, max_seconds)
        run_pipeline((), lambda _: meter.predict(newest), consume, depth=1, result_size=lambda result: result.nbytes)
    else:
        frames = first_frames(iter(source), max_frames, max_seconds)
        run_pipeline(frames, meter.predict, consume, depth, stop, lambda frame: frame.image.nbytes, lambda result: result.nbytes)
    return replace(meter.done, elapsed=time.perf_counter() - meter.started, **meter.lost())


class _Meter:
    """Counts the frames that a predictor reads and returns, and reports each change."""

    def __init__(
        self, predictor: FramePredictor, source: FrameSource, progress: Callable[[PredictionProgress], None] | None
    ) -> None:
        self.done = PredictionProgress()
        self.started = time.perf_counter()
        self._predictor, self._source, self._progress = predictor, source, progress

    def lost(self) -> dict[str, int]:
        """Return the drops and reconnections of a live source."""
        source = self._source
        return {"dropped": source.dropped, "reconnects": source.reconnects} if isinstance(source, LiveFrames) else {}

    def predict(self, frames: Iterator[Frame]) -> Iterator[FramePrediction]:
        """Predict frames in order."""
        for result in self._predictor(self._counted(frames)):
            self._report(
                replace(
                    self.done,
                    frames=self.done.frames + 1,
                    key_frames=self.done.key_frames + result.is_key,
                    position=float(result.frame.time + result.frame.duration),
                    step_seconds=self.done.step_seconds + result.seconds,
                    held=len(self._predictor.held),
                )
            )
            yield result
            del result

    def _counted(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            # Nothing waits online.
            if self._predictor.held:
                held, done = len(self._predictor.held) + 1, self.done
                most, size = max(done.most_held, held), max(done.most_held_bytes, held * frame.image.nbytes)
                self._report(replace(done, held=held, most_held=most, most_held_bytes=size))
            yield frame

    def _report(self, now: PredictionProgress) -> None:
        self.done = replace(now, elapsed=time.perf_counter() - self.started, **self.lost())
        if self._progress is not None:
            self._progress(self.done)
