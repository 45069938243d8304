"""Labelling a clip for the page: the prediction that ``src.predict`` runs, with what the page tells about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.inference.scheduling.step_costs import StepCosts
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OVERLAY, SHARES, OutputOptions, VideoOutputs
from src.inference.video.prediction import LabelledFrame, PredictionProgress, predict_video
from src.inference.video.sources import FrameSource, first_image
from src.measure.cost import FrameCost, frame_cost
from src.measure.latency import describe_machine
from src.models.propagator import Propagator
from src.ops.resize import short_side_size
from src.structures import KeyReason, Size
from src.visualization.palette import Palette
from src.web.run_cost import CostRow, RunTimes, conditions, cost_rows
from src.web.schedules import BudgetShare


@dataclass(frozen=True)
class KeyMark:
    """A key frame on the timeline.

    Attributes:
        frame: its number, counted from 0.
        seconds: when it is shown.
        reason: why it is one; ``None`` if nobody said.
    """

    frame: int
    seconds: float
    reason: KeyReason | None


@dataclass(frozen=True)
class LabelledClip:
    """What there is to see and to tell about a clip.

    Attributes:
        video: source and overlay side by side.
        shares: share of every class in every frame, CSV.
        keys: key frames in order.
        progress: frames, key frames and times.
        costs: lines of the table.
        conditions: what the figures depend on.
        faults: what was broken in the source.
    """

    video: Path
    shares: Path
    keys: Sequence[KeyMark]
    progress: PredictionProgress
    costs: Sequence[CostRow]
    conditions: str
    faults: Sequence[str]


class ClipLabeller:
    """A model that is ready to label clips.

    Args:
        propagators: the segmentor with each flow that can be chosen, by the name of the flow; the first is the default.
        classes: K names.
        palette: K colors.
        short_side: see :class:`~src.inference.streaming.StreamingSegmentor`.
        max_long_side: likewise.
        autocast: likewise.

    Attributes:
        classes: K names.

    Raises:
        ValueError: if there is no propagator.
    """

    def __init__(
        self,
        propagators: Mapping[str, Propagator],
        classes: Sequence[str],
        palette: Palette,
        short_side: int | None = None,
        max_long_side: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        if not propagators:
            raise ValueError("no flow to propagate with; expected at least one")
        self._propagators = dict(propagators)
        self.classes, self._palette = tuple(classes), tuple(palette)
        self._short_side, self._max_long_side, self._autocast = short_side, max_long_side, autocast
        self._costs: dict[tuple[str, Size], FrameCost] = {}

    @property
    def flows(self) -> list[str]:
        """Names of the flows that can be chosen."""
        return list(self._propagators)

    def label(
        self,
        source: FrameSource,
        scheduler: KeyFrameScheduler | BudgetShare,
        flow: str,
        folder: Path,
        max_frames: int | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[PredictionProgress], None] | None = None,
    ) -> LabelledClip:
        """Label a source, or what can be read of it.

        Args:
            source: of the frames.
            scheduler: which frames are key frames; a share becomes a budget by what the first frame costs.
            flow: one of :attr:`flows`.
            folder: where the files go; nothing of their names may be there.
            max_frames: the first so many alone.
            stop: once set, the frame at hand is the last.
            progress: called after every frame.

        Raises:
            ValueError: if there is no such flow, or no frame could be read.
            FileExistsError: if the files are there.
        """
        if flow not in self._propagators:
            raise ValueError(f"flow is {flow!r}, expected one of {', '.join(self._propagators)}")
        propagator = self._propagators[flow]
        if isinstance(scheduler, BudgetShare):
            scheduler = self._budget(scheduler, flow, source)
        stream = StreamingSegmentor(propagator, scheduler, self._short_side, self._max_long_side, self._autocast)
        times, keys, sizes = RunTimes(), list[KeyMark](), list[Size]()
        options = OutputOptions(source_beside=True)
        with VideoOutputs(folder, source.info, self.classes, self._palette, options) as outputs:

            def consume(result: LabelledFrame) -> None:
                if not sizes:
                    sizes.append((result.frame.image.shape[-2], result.frame.image.shape[-1]))
                if result.is_key:
                    keys.append(KeyMark(outputs.frames, float(result.frame.time), result.reason))
                times.add(result)
                outputs.write(result)

            done = predict_video(stream, source, consume, max_frames=max_frames, stop=stop, progress=progress)
            if not done.frames:
                raise ValueError("; ".join(source.faults) or f"{source.info.name}: stopped before the first frame")
            outputs.finish()
        # Clips whose frames change their size are priced by their first frame.
        size = short_side_size(sizes[0], self._short_side, self._max_long_side)
        rows = cost_rows(times, self._cost(flow, size), _signal_gflops(scheduler, size))
        machine = describe_machine(next(propagator.parameters()).device)
        precision = None if self._autocast is None else str(self._autocast).removeprefix("torch.")
        told = conditions(machine, size, precision)
        return LabelledClip(folder / OVERLAY, folder / SHARES, keys, done, rows, told, list(source.faults))

    def _budget(self, share: BudgetShare, flow: str, source: FrameSource) -> KeyFrameScheduler:
        image = first_image(source)
        if image is None:
            raise ValueError("; ".join(source.faults) or f"{source.info.name}: no frame could be read")
        size = short_side_size((image.shape[-2], image.shape[-1]), self._short_side, self._max_long_side)
        cost = self._cost(flow, size)
        return share.of(StepCosts.of_parts(cost.key, cost.propagate, cost.post + thumbnail_multiply_adds(size) / 1e9))

    def _cost(self, flow: str, size: Size) -> FrameCost:
        if (flow, size) not in self._costs:
            self._costs[flow, size] = frame_cost(self._propagators[flow], size)
        return self._costs[flow, size]


def _signal_gflops(scheduler: KeyFrameScheduler, size: Size) -> float:
    """What a scheduler that looks at its frames spends on that."""
    count: Callable[[Size], float] | None = getattr(scheduler, "signal_gflops", None)
    return 0.0 if count is None else count(size)
