"""Demo page in Gradio: choose a clip and a schedule, watch source and overlay, read the cost."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from src.inference.streaming import Mode
from src.inference.video.decoder import VideoFrames
from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource
from src.web.guard import Quota
from src.web.markup import TIMELINE_CSS, TIMELINE_JS, cost_table, message, summary, timeline
from src.web.predictor import ClipPredictor
from src.web.schedules import Schedule
from src.web.server import serve
from src.web.sessions import Sessions

log = logging.getLogger(__name__)

_TITLE = "Video semantic segmentation by mask propagation"
_PAGE_CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_REPORT_INTERVAL = 0.2  # seconds between two progress reports to the browser
_KEEP_SECONDS = 3600  # age at which uploads and results are deleted
_SWEEP_INTERVAL = 60  # seconds
_COLUMN_WIDTH = 280  # pixels; three columns fit into the width of a Gradio page
_MODE_INFO = (
    "offline: a frame is labelled from the key frames on both sides of it, one interval late. "
    "online: only from key frames before it, at once, as of a camera."
)
_QUEUE_LENGTH = 16  # predictions that may wait

Clips = Mapping[str, Callable[[], FrameSource]]


class DemoPage:
    """Demo page and the actions of its buttons. One prediction runs at a time; others wait in a queue.

    Args:
        predictor: predictor of the model.
        clips: functions that open the offered clips, by name.
        schedules: offered schedules; the first is the default.
        workplace: parent folder of the results.
        max_frames: default for the maximum number of frames; 0 for all.
        subtitle: description of the model.
        mode: initial mode.
    """

    def __init__(
        self,
        predictor: ClipPredictor,
        clips: Clips,
        schedules: Sequence[Schedule],
        workplace: Path,
        max_frames: int = 150,
        subtitle: str = "",
        mode: Mode = "offline",
    ) -> None:
        self._predictor = predictor
        self._clips = dict(clips)
        self._schedules = {schedule.title: schedule for schedule in schedules}
        self._sessions = Sessions(workplace)
        self._workplace = workplace
        self._closed = threading.Event()
        self.blocks = self._build(subtitle, max_frames, mode)

    def launch(self, port: int | None, open_browser: bool = False, max_upload: int = 2**29, max_stored: int = 2**31) -> str:
        """Serve the page in separate threads, only for browsers on this machine, and return its address.

        ``port`` ``None`` is the first free one from 7860. An upload has at most ``max_upload`` bytes, all files of the page
        have at most ``max_stored``. ``OSError`` means that the port is in use.
        """
        # Gradio polls its own server, and httpx would log every request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.blocks.queue(max_size=_QUEUE_LENGTH, default_concurrency_limit=1, api_open=False)
        threading.Thread(target=self._sweep, daemon=True).start()
        return serve(self.blocks, port, open_browser, Quota(self._workplace, max_upload, max_stored), _PAGE_CSS)

    def close(self) -> None:
        """Stop all predictions, then the server."""
        self._closed.set()
        self._sessions.end_all()
        self.blocks.close(verbose=False)

    def _sweep(self) -> None:
        while not self._closed.wait(_SWEEP_INTERVAL):
            self._sessions.sweep(_KEEP_SECONDS)

    def _build(self, subtitle: str, max_frames: int, initial_mode: Mode) -> Any:
        schedules, flows = list(self._schedules.values()), self._predictor.flows
        with gr.Blocks(title=_TITLE, analytics_enabled=False) as blocks:
            gr.Markdown(f"## {_TITLE}\n{subtitle}")
            with gr.Row():
                with gr.Column(min_width=_COLUMN_WIDTH):
                    names = list(self._clips)
                    clip = gr.Dropdown(names, value=names[0] if names else None, label="Clip")
                    upload = gr.File(label="or upload a video (takes precedence)", height=150)
                with gr.Column(min_width=_COLUMN_WIDTH):
                    chosen = gr.Radio([s.title for s in schedules], value=schedules[0].title, label="Key frames")
                    sliders = [
                        gr.Slider(s.minimum, s.maximum, s.value, step=s.step, label=s.setting, visible=s is schedules[0])
                        for s in schedules
                    ]
                    mode = gr.Radio(list(get_args(Mode)), value=initial_mode, label="Mode", info=_MODE_INFO)
                with gr.Column(min_width=_COLUMN_WIDTH):
                    flow = gr.Dropdown(flows, value=flows[0], label="Optical flow to the key frame", interactive=len(flows) > 1)
                    frames = gr.Number(max_frames, label="Maximum number of frames (0: all)", precision=0, minimum=0)
                    with gr.Row():
                        go = gr.Button("Predict", variant="primary", min_width=100)
                        stop = gr.Button("Stop", min_width=100)
            status = gr.HTML()
            with gr.Column(visible=False) as results:
                video = gr.Video(label="Source and overlay", elem_id="prediction", autoplay=True, interactive=False)
                line = gr.HTML(js_on_load=TIMELINE_JS, css_template=TIMELINE_CSS)
                table = gr.Markdown(elem_id="costs")
                shares = gr.File(label="Class shares of every frame (CSV)", interactive=False)

            def act(values: dict[Any, Any], request: gr.Request, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
                schedule = self._schedules[values[chosen]]
                setting = values[sliders[schedules.index(schedule)]]
                return self._predict(
                    values[clip], values[upload], schedule, setting, values[mode], values[flow], values[frames], request, progress
                )

            outputs = [status, results, video, line, table, shares]
            go.click(act, {clip, upload, chosen, mode, flow, frames, *sliders}, outputs, api_name="predict", concurrency_limit=1)
            stop.click(self._stop, None, None, queue=False, api_name=False)
            chosen.change(
                lambda title: [gr.update(visible=s.title == title) for s in schedules] if len(schedules) > 1
                else gr.update(visible=True),
                chosen, sliders, queue=False, api_name=False,
            )  # fmt: skip
            upload.upload(self._claim, upload, None, queue=False, api_name=False)
            blocks.unload(self._leave)
        return blocks

    def _predict(
        self,
        clip: str | None,
        upload: str | None,
        schedule: Schedule,
        setting: float,
        mode: Mode,
        flow: str,
        max_frames: float | None,
        request: Any,
        progress: Callable[..., None],
    ) -> tuple[Any, ...]:
        self._claim(upload, request)
        session = self._sessions.begin(str(request.session_hash))
        try:
            if upload is None and clip is None:
                raise ValueError("Choose a clip or upload a video.")
            source = self._clips[str(clip)]() if upload is None else VideoFrames(upload)
            limit = int(max_frames) if max_frames else None
            report = _reporter(progress, source, limit)
            prediction = self._predictor.predict(
                source, schedule.scheduler(setting), flow, session.folder, limit, mode, session.stop, report
            )
        except (OSError, ValueError) as error:
            log.warning("%s", error)
            return self._refuse(_without_folder(str(error), upload))
        finally:
            kept = self._sessions.finish(session)
        log.info("%s: %s", source.info.name, prediction.progress)
        if not kept:
            return self._refuse("The session has ended.")
        return (
            _without_folder(summary(prediction), upload),
            gr.update(visible=True),
            str(prediction.video),
            timeline(prediction.keys, prediction.progress.position),
            cost_table(prediction.costs, prediction.conditions),
            str(prediction.shares),
        )

    def _refuse(self, reason: str) -> tuple[Any, ...]:
        return message(reason, "error"), gr.update(visible=False), None, "", "", None

    def _claim(self, upload: str | None, request: gr.Request) -> None:
        if upload is not None:
            self._sessions.claim(str(request.session_hash), Path(upload))

    def _stop(self, request: gr.Request) -> None:
        self._sessions.stop(str(request.session_hash))

    def _leave(self, request: gr.Request) -> None:
        self._sessions.end(str(request.session_hash))


def _reporter(progress: Callable[..., None], source: FrameSource, limit: int | None) -> Callable[[PredictionProgress], None]:
    reported = 0.0

    def report(done: PredictionProgress) -> None:
        nonlocal reported
        if time.monotonic() - reported < _REPORT_INTERVAL:
            return
        reported = time.monotonic()
        seconds = source.info.seconds
        share = max(done.position / seconds if seconds else 0.0, done.frames / limit if limit else 0.0)
        progress(min(share, 1.0), desc=str(done))

    return report


def _without_folder(text: str, upload: str | None) -> str:
    """Remove the temporary folder of an upload from a message."""
    return text if upload is None else text.replace(f"{Path(upload).parent}{os.sep}", "")
