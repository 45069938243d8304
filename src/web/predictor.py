"""Predictor of the demo page: the prediction of ``src.predict`` with key frames and costs."""

import csv
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from src.files.results.owned_folder import Scratch
from src.inference.evaluation.fusing import Fusing
from src.inference.runtime.frames import EAGER, Runtimes
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video.outputs import OVERLAY, SHARES, OutputOptions, VideoOutputs
from src.inference.video.prediction import FramePrediction, PredictionProgress, predict_video
from src.inference.video.sources import FrameSource, first_image
from src.measure.cost import FrameCost, frame_cost
from src.measure.latency import describe_machine
from src.models.fusion import FusionRule
from src.models.propagator import Propagator
from src.ops.resize import short_side_size
from src.structures import KeyReason, Size
from src.visualization.palette import Palette
from src.web.run_cost import CostRow, RunTimes, conditions, cost_rows, step_costs

LABELS = "labels.zip"


@dataclass(frozen=True)
class KeyFrameMark:
    """Key frame on the timeline: its number from 0, presentation time, and the scheduler's reason, if it gives one."""

    frame: int
    seconds: float
    reason: KeyReason | None


@dataclass(frozen=True)
class ClipPrediction:
    """Prediction of a clip with its key frames and costs.

    Attributes:
        video: video of source and overlay side by side.
        shares: CSV file of the share of every class in every frame.
        labels: ZIP file of the label maps, PNG, and of the class names.
        class_shares: mean share of every class.
        keys: key frames in order.
        costs: rows of the cost table, measured under ``conditions``.
        part: the predicted part of the clip, such as "150 of 250 frames", ``None`` if the clip was predicted to its end.
    """

    video: Path
    shares: Path
    labels: Path
    class_shares: Sequence[float]
    keys: Sequence[KeyFrameMark]
    progress: PredictionProgress
    costs: Sequence[CostRow]
    conditions: str
    decode_errors: Sequence[str]
    part: str | None = None


class ClipPredictor:
    """Predictor of clips with a choice of flows.

    ``propagators`` has a propagator for each flow, by the flow's name; the first is the default. The other options are those of
    :class:`~src.inference.streaming.StreamingSegmentor`; ``runtimes`` prepares networks once for all predictions.
    """

    def __init__(
        self,
        propagators: Mapping[str, Propagator],
        classes: Sequence[str],
        palette: Palette,
        short_side: int | None = None,
        max_long_side: int | None = None,
        autocast: torch.dtype | None = None,
        fusion: FusionRule = "photometric",
        fuse_keys: bool = False,
        runtimes: Runtimes = EAGER,
    ) -> None:
        if not propagators:
            raise ValueError("there is no flow; expected at least one")
        self._propagators = dict(propagators)
        self.classes, self.palette = tuple(classes), tuple(palette)
        self._short_side, self._max_long_side, self._autocast = short_side, max_long_side, autocast
        self._fusion, self._fuse_keys = fusion, fuse_keys
        self._runtimes = runtimes
        self._costs: dict[tuple[str, Size], FrameCost] = {}

    @property
    def flows(self) -> list[str]:
        """Names of the flows."""
        return list(self._propagators)

    def predict(
        self,
        source: FrameSource,
        scheduler: KeyFrameScheduler | None,
        flow: str,
        folder: Path,
        max_frames: int | None = None,
        mode: Mode = "offline",
        stop: threading.Event | None = None,
        progress: Callable[[PredictionProgress], None] | None = None,
        show: Callable[[FramePrediction], None] | None = None,
    ) -> ClipPrediction:
        """Predict the frames of a source that can be decoded, as :func:`~src.inference.video.prediction.predict_video` does.

        A budget receives the cost of the first frame; without a scheduler, every frame is segmented by itself.
        ``flow`` is one of :attr:`flows`. ``show`` is called with every prediction.

        Raises:
            ValueError: if the flow is unknown, or no frame could be decoded.
            FileExistsError: if ``folder`` has an earlier output.
        """
        stream, fusing = self._stream(source, scheduler, flow, mode)
        times, keys, sizes = RunTimes(), list[KeyFrameMark](), list[Size]()
        options = OutputOptions(source_beside=True, legend="off")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            Scratch(folder.parent, folder.name) as scratch,
            VideoOutputs(scratch.new, source.info, self.classes, self.palette, options) as outputs,
            ZipFile(scratch.new / LABELS, "w") as archive,
        ):
            archive.writestr("classes.txt", "".join(f"{number}: {name}\n" for number, name in enumerate(self.classes)))

            def consume(result: FramePrediction) -> None:
                if not sizes:
                    sizes.append((result.frame.image.shape[-2], result.frame.image.shape[-1]))
                if result.is_key:
                    keys.append(KeyFrameMark(outputs.frames, float(result.frame.time), result.reason))
                times.add(result)
                outputs.write(result)
                archive.writestr(f"{result.frame.name}.png", _label_map(result, len(self.classes)))
                if show is not None:
                    show(result)

            done = predict_video(stream, source, consume, max_frames=max_frames, stop=stop, progress=progress)
            if not done.frames:
                raise ValueError("; ".join(source.decode_errors) or f"{source.info.name}: stopped before the first frame")
            outputs.finish()
            archive.close()
            scratch.commit({"video": source.info.name, "frames": done.frames}, overwrite=False)
        part = _part(done.frames, max_frames, stop is not None and stop.is_set(), source)
        # If the frame size changes, the first frame determines the cost.
        size = short_side_size(sizes[0], self._short_side, self._max_long_side)
        rows = cost_rows(times, self._cost(flow, size), _signal_gflops(stream.scheduler, size), fusing)
        measured = self._conditions(next(stream.propagator.parameters()).device, size)
        shares = _mean_shares(folder / SHARES, self.classes)
        files = (folder / OVERLAY, folder / SHARES, folder / LABELS)
        return ClipPrediction(*files, shares, keys, done, rows, measured, list(source.decode_errors), part)

    def _stream(
        self, source: FrameSource, scheduler: KeyFrameScheduler | None, flow: str, mode: Mode
    ) -> tuple[StreamingSegmentor, Fusing]:
        if flow not in self._propagators:
            raise ValueError(f"flow is {flow!r}; expected one of {', '.join(self._propagators)}")
        fuse_keys = self._fuse_keys and scheduler is not None
        fusing = Fusing(mode, self._fusion, fuse_keys)
        if isinstance(scheduler, Budget):
            scheduler = self._budget(scheduler, flow, source, fusing)
        stream = StreamingSegmentor(
            self._propagators[flow], scheduler or FixedInterval(1), self._short_side, self._max_long_side, self._autocast,
            mode=mode, fusion=self._fusion, fuse_keys=fuse_keys, runtime=self._runtimes,
        )  # fmt: skip
        return stream, fusing

    def _conditions(self, device: torch.device, size: Size) -> str:
        precision = None if self._autocast is None else str(self._autocast).removeprefix("torch.")
        return conditions(describe_machine(device), size, precision)

    def _budget(self, budget: Budget, flow: str, source: FrameSource, fusing: Fusing) -> KeyFrameScheduler:
        image = first_image(source)
        if image is None:
            raise ValueError("; ".join(source.decode_errors) or f"{source.info.name}: no frame could be read")
        size = short_side_size((image.shape[-2], image.shape[-1]), self._short_side, self._max_long_side)
        cost = self._cost(flow, size)
        return budget.with_costs(step_costs(cost, budget.signal_gflops(size), fusing))

    def _cost(self, flow: str, size: Size) -> FrameCost:
        if (flow, size) not in self._costs:
            self._costs[flow, size] = frame_cost(self._propagators[flow], size, [self._fusion])
        return self._costs[flow, size]


def _part(frames: int, max_frames: int | None, stopped: bool, source: FrameSource) -> str | None:
    """Return the predicted part of a source in words, ``None`` if all of it was predicted."""
    limited = frames == max_frames
    if not (limited or stopped):
        return None
    stored = source.stored_frames()
    if stored is not None and frames >= stored:
        return None
    total = "" if stored is None else f" of {stored}"
    return f"{frames}{total} frames" if limited else f"stopped after {frames} frames{total}"


def _label_map(result: FramePrediction, num_classes: int) -> bytes:
    labels: NDArray[np.integer] = result.semantic_map.numpy().astype(np.uint8 if num_classes <= 256 else np.uint16)
    return cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _mean_shares(table: Path, classes: Sequence[str]) -> list[float]:
    """Return the mean of the last columns of a table of shares, one for each class."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row[-len(classes) :] for row in csv.reader(file)][1:]
    return [sum(map(float, column)) / len(rows) for column in zip(*rows, strict=True)]


def _signal_gflops(scheduler: KeyFrameScheduler, size: Size) -> float:
    """Return the cost of a scheduler's own signal per frame, GFLOPs."""
    count: Callable[[Size], float] | None = getattr(scheduler, "signal_gflops", None)
    return 0.0 if count is None else count(size)
