"""Order of a clip with one or two methods: its prediction, its progress and its results on the page."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource
from src.web.guard import Quota
from src.web.markup import message, progress, results, summary
from src.web.methods import Method
from src.web.predictor import ClipPrediction, ClipPredictor
from src.web.preview import Preview
from src.web.runs import Run

log = logging.getLogger(__name__)

_QUOTA_INTERVAL = 2.0  # seconds between two looks at the size of the results


@dataclass(frozen=True)
class Order:
    """Clip and methods to predict.

    Attributes:
        name: name of the clip.
        open_source: opens the clip.
        methods: one or two.
        max_frames: maximum number of frames; ``None`` for all.
        hidden: folder that messages leave out, that of an upload.
    """

    name: str
    open_source: Callable[[], FrameSource]
    methods: Sequence[Method]
    max_frames: int | None = None
    hidden: str = ""

    def predict(self, run: Run, predictor: ClipPredictor, quota: Quota) -> str:
        """Predict with all methods, one after the other, and return the messages and results as HTML.

        The run stops where its files exceed the quota. Results of a first method stay where the second one fails.
        """
        clips: list[ClipPrediction] = []
        texts, full = "", list[str]()
        for number, method in enumerate(self.methods):
            if clips and run.stop.is_set():
                texts += message(f"The second method was not predicted: {method}.", "warning")
                break
            try:
                source = self.open_source()
                preview = Preview(predictor.classes, predictor.palette, source.info.pixel_aspect, lambda jpeg: _show(run, jpeg))
                clip = predictor.predict(
                    source, method.scheduler(), method.flow, run.folder / f"method{number + 1}", self.max_frames, method.mode,
                    run.stop, self._reporter(run, source, number, quota, full), preview,
                )  # fmt: skip
            except (OSError, ValueError) as error:
                log.warning("%s", error)
                texts += message(str(error), "error")
                break
            log.info("%s: %s: %s", self.name, method, clip.progress)
            clips.append(clip)
            texts += summary(clip, "AB"[number] if len(self.methods) > 1 else "")
        texts += "".join(message(f"The prediction was stopped: {reason}.", "warning") for reason in full)
        if clips:
            names = [str(method) for method in self.methods[: len(clips)]]
            texts += results(names, clips, predictor.classes, predictor.palette, self.name)
        return texts.replace(self.hidden, "") if self.hidden else texts

    def _reporter(
        self, run: Run, source: FrameSource, number: int, quota: Quota, full: list[str]
    ) -> Callable[[PredictionProgress], None]:
        looked, count = time.monotonic(), len(self.methods)
        which = f"method {number + 1} of {count}: " if count > 1 else ""

        def report(done: PredictionProgress) -> None:
            nonlocal looked
            seconds, limit = source.info.seconds, self.max_frames
            share = max(done.position / seconds if seconds else 0.0, done.frames / limit if limit else 0.0)
            run.share, run.note = (number + min(share, 1.0)) / count, f"{which}{done}"
            if time.monotonic() - looked > _QUOTA_INTERVAL and not run.stop.is_set():
                looked, reason = time.monotonic(), quota.exceeded()
                if reason is not None:
                    full.append(reason)
                    run.stop.set()

        return report


def view(run: Run, ahead: int, plain_legend: str) -> str:
    """Return the HTML of a run: its place in the queue, its progress, or its result."""
    if run.state == "ended":
        return run.result
    if run.state == "waiting":
        plural = "" if ahead == 1 else "s"
        return progress(f"waiting for {ahead} prediction{plural}" if ahead else "starting", None, None, "")
    note = "stopping after the current frame" if run.stop.is_set() else run.note or "starting"
    return progress(note, run.share, run.picture, plain_legend)


def _show(run: Run, jpeg: bytes) -> None:
    run.picture = jpeg
