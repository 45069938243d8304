"""Demo page in Gradio: choose a clip and one or two methods, watch source and overlay, read the cost."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from src.inference.streaming import Mode
from src.inference.video.decoder import VideoFrames
from src.inference.video.sources import FrameSource
from src.web.guard import Quota
from src.web.markup import legend, message
from src.web.methods import FLOWS, MODES, Method, comparisons, second_method
from src.web.order import Order, view
from src.web.predictor import ClipPredictor
from src.web.runs import RunQueue
from src.web.schedules import Schedule
from src.web.server import serve
from src.web.sessions import Sessions

_TITLE = "Video semantic segmentation by mask propagation"
_FOLDER = Path(__file__).parent
_PAGE_CSS, _VIEWER_JS = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "viewer.js"))
_SESSION_JS = "() => sessionStorage.mpvss ??= crypto.randomUUID()"  # of one tab, kept while it is loaded anew
_VIEW_INTERVAL = 0.3  # seconds between two looks at a running prediction
_KEEP_SECONDS = 3600  # age at which uploads and results are deleted
_AWAY_SECONDS = 30  # time in which a page that is loaded anew finds its results
_SWEEP_INTERVAL = 10  # seconds
_COLUMN_WIDTH = 280  # pixels; three columns fit into the width of a Gradio page
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
        cancelled = message("Cancelled before it started.", "warning")
        failed = message("The prediction failed; the log of the page has the reason.", "error")
        self._queue = RunQueue(_QUEUE_LENGTH, cancelled, failed, self._sessions.finish)
        self._legend = legend(predictor.classes, predictor.palette)
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
        self._quota = Quota(self._workplace, max_upload, max_stored)
        self.blocks.queue(max_size=None, default_concurrency_limit=None, api_open=False)
        threading.Thread(target=self._sweep, daemon=True).start()
        return serve(self.blocks, port, open_browser, self._quota, _PAGE_CSS)

    def close(self) -> None:
        """Stop all predictions, then the server."""
        self._closed.set()
        self._sessions.end_all()
        self.blocks.close(verbose=False)

    def _sweep(self) -> None:
        while not self._closed.wait(_SWEEP_INTERVAL):
            self._sessions.sweep(_KEEP_SECONDS, _AWAY_SECONDS)

    def _build(self, subtitle: str, max_frames: int, initial_mode: Mode) -> Any:
        schedules, flows = list(self._schedules.values()), {name: FLOWS.get(name, "") for name in self._predictor.flows}
        abouts, compare = {s.title: s.about for s in schedules}, comparisons(schedules, flows)
        with gr.Blocks(title=_TITLE, analytics_enabled=False) as blocks:
            gr.Markdown(f"## {_TITLE}\n{subtitle}")
            with gr.Row():
                with gr.Column(min_width=_COLUMN_WIDTH):
                    names = list(self._clips)
                    clip = gr.Dropdown(names, value=names[0] if names else None, label="Clip")
                    upload = gr.File(label="or upload a video (takes precedence)", height=150)
                    frames = gr.Number(max_frames, label="Maximum number of frames (0: all)", precision=0, minimum=0)
                with gr.Column(min_width=_COLUMN_WIDTH):
                    chosen = _explained(gr.Radio, "Key frames", abouts)
                    sliders = [
                        gr.Slider(s.minimum, s.maximum, s.value, step=s.step, label=s.setting, visible=s is schedules[0])
                        for s in schedules
                    ]
                    mode = _explained(gr.Radio, "Mode", MODES, initial_mode)
                with gr.Column(min_width=_COLUMN_WIDTH):
                    flow = _explained(gr.Radio, "Optical flow to the key frame", flows)
                    second = _explained(gr.Dropdown, "Compare with", compare)
                    with gr.Row():
                        go = gr.Button("Predict", variant="primary", min_width=100)
                        stop = gr.Button("Stop", min_width=100, interactive=False)
            session, tips = gr.Textbox(visible=False), {**abouts, **MODES, **flows, **compare}
            shown = gr.HTML(js_on_load=_VIEWER_JS, apply_default_css=False, elem_id="view", tips=tips)

            async def predict(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
                settings = {s.title: values[slider] for s, slider in zip(schedules, sliders, strict=True)}
                schedule = self._schedules[values[chosen]]
                first = Method(schedule, settings[schedule.title], values[mode], values[flow])
                try:
                    other = second_method(values[second], first, schedules, settings)
                    methods = [first] if other is None else [first, other]
                    self._start(values[clip], values[upload], methods, values[frames], request)
                except ValueError as error:
                    yield _outputs(message(str(error), "error"), busy=False)
                    return
                async for state in self._follow(request):
                    yield state

            inputs, outputs = {clip, upload, frames, chosen, mode, flow, second, *sliders}, [shown, go, stop]
            go.click(predict, inputs, outputs, api_name="predict", show_progress="hidden")
            blocks.load(self._enter, session, outputs, js=_SESSION_JS, api_name=False, show_progress="hidden")
            silent = {"queue": False, "api_name": False, "show_progress": "hidden"}
            stop.click(self._stop, None, None, **silent)
            chosen.change(
                lambda title: [gr.update(visible=s.title == title) for s in schedules] if len(schedules) > 1
                else gr.update(visible=True),
                chosen, sliders, **silent,
            )  # fmt: skip
            for choice, texts in ((chosen, abouts), (mode, MODES), (flow, flows), (second, compare)):
                choice.change(partial(_explain, texts), choice, choice, **silent)
            upload.upload(self._claim, upload, None, **silent)
            blocks.unload(self._leave)
        return blocks

    def _start(
        self, clip: str | None, upload: str | None, methods: Sequence[Method], max_frames: float | None, request: Any
    ) -> None:
        if upload is None and clip is None:
            raise ValueError("Choose a clip or upload a video.")
        self._claim(upload, request)
        limit = int(max_frames) if max_frames else None
        if upload is None:
            order = Order(str(clip), self._clips[str(clip)], methods, limit)
        else:
            order = Order(Path(upload).name, partial(VideoFrames, upload), methods, limit, f"{Path(upload).parent}{os.sep}")
        run = self._sessions.begin(self._session(request))
        try:
            self._queue.add(run, partial(order.predict, predictor=self._predictor, quota=self._quota))
        except ValueError:
            self._sessions.finish(run)
            self._sessions.end(self._session(request))
            raise

    async def _enter(self, session: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        self._sessions.enter(session, str(request.session_hash))
        async for shown in self._follow(request):
            yield shown

    async def _follow(self, request: Any) -> AsyncIterator[tuple[Any, ...]]:
        """Yield the view of the session's last run whenever it has changed, until the run has ended."""
        before, ended = None, False
        while not ended:
            run = self._sessions.current(self._session(request))
            ended = run is None or run.state == "ended"
            now = "" if run is None else view(run, self._queue.ahead(run), self._legend)
            if now != before:
                yield _outputs(now, busy=not ended)
                before = now
            if not ended:
                await asyncio.sleep(_VIEW_INTERVAL)

    def _session(self, request: Any) -> str:
        return self._sessions.of_tab(str(request.session_hash))

    def _claim(self, upload: str | None, request: gr.Request) -> None:
        if upload is not None:
            self._sessions.claim(self._session(request), Path(upload))

    def _stop(self, request: gr.Request) -> None:
        self._sessions.stop(self._session(request))

    def _leave(self, request: gr.Request) -> None:
        self._sessions.leave(str(request.session_hash))


def _outputs(view: str, busy: bool) -> tuple[Any, ...]:
    return view, gr.update(interactive=not busy), gr.update(interactive=busy)


def _explained(kind: Any, label: str, texts: Mapping[str, str], value: str | None = None) -> Any:
    """Create a choice of the given kind that explains its value, at first the first one."""
    value = value or next(iter(texts))
    return kind(list(texts), value=value, label=label, info=texts[value])


def _explain(texts: Mapping[str, str], value: str) -> Any:
    return gr.update(info=texts[value])
