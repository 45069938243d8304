"""The page of the demo: choose a clip and key frames, watch source and overlay, read the cost. Gradio is known here alone."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from src.inference.video.decoder import VideoFrames
from src.inference.video.prediction import PredictionProgress
from src.inference.video.progress import in_words
from src.inference.video.sources import FrameSource
from src.web.markup import FOLLOW_THE_VIDEO, TIMELINE_CSS, cost_table, message, summary, timeline
from src.web.predictor import ClipLabeller
from src.web.schedules import Schedule
from src.web.sessions import Visits

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""The only address that the page is served on."""

_PAGE_CSS = """
.message {padding: 8px 12px; border-radius: 6px; border-left: 4px solid #2563eb; background: var(--background-fill-secondary)}
.message.warning {border-color: #d97706} .message.error {border-color: #dc2626}
.message + .message {margin-top: 6px}
#labelled video {max-height: 480px}
#costs td + td {text-align: right}
footer {display: none !important}
"""
_TELL_EVERY = 0.2  # seconds between two reports of progress to the browser
_UPLOADS_LIVE = 3600  # seconds
_COLUMN = 280  # pixels; three of them stand side by side in the width that Gradio gives a page
_WAITING = 16  # labellings that may wait for their turn

Clips = Mapping[str, Callable[[], FrameSource]]


class DemoPage:
    """The page and what its buttons do.

    One labelling runs at a time, and the others wait for their turn in order.

    Args:
        labeller: the model.
        clips: what can be picked, opened when it is.
        schedules: ways to place key frames; the first one is chosen at the start.
        workplace: a folder for results.
        max_frames: frames that are labelled unless the visitor wants more.
        title: of the page.
        subtitle: what model it shows, in a sentence.
    """

    def __init__(
        self,
        labeller: ClipLabeller,
        clips: Clips,
        schedules: Sequence[Schedule],
        workplace: Path,
        max_frames: int = 150,
        title: str = "Video semantic segmentation by mask propagation",
        subtitle: str = "",
    ) -> None:
        self._labeller = labeller
        self._clips = dict(clips)
        self._schedules = {schedule.title: schedule for schedule in schedules}
        self._visits = Visits(workplace)
        self.blocks = self._build(title, subtitle, max_frames)

    def launch(self, port: int | None, open_browser: bool = False, max_upload: str = "500mb") -> str:
        """Serve the page in threads of its own, on this machine alone.

        Args:
            port: ``None`` takes the first free one from 7860 on.
            open_browser: whether a browser is opened.
            max_upload: size of a file, such as ``500mb``.

        Returns:
            Its address.

        Raises:
            OSError: if the port is taken.
        """
        # Gradio asks its own server whether it is there, and would have every request told.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.blocks.queue(max_size=_WAITING, default_concurrency_limit=1, api_open=False)
        _, address, _ = self.blocks.launch(
            server_name=HOST, server_port=port, share=False, inbrowser=open_browser, max_file_size=max_upload, quiet=True,
            prevent_thread_lock=True, show_error=True, ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False,
            run_history=False, footer_links=[], css=_PAGE_CSS, theme=gr.themes.Default(),
        )  # fmt: skip
        return str(address)

    def close(self) -> None:
        """End every labelling, then the server."""
        self._visits.end_all()
        self.blocks.close(verbose=False)

    def _build(self, title: str, subtitle: str, max_frames: int) -> Any:
        schedules, flows = list(self._schedules.values()), self._labeller.flows
        with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, _UPLOADS_LIVE)) as blocks:
            gr.Markdown(f"## {title}\n{subtitle}")
            with gr.Row():
                with gr.Column(min_width=_COLUMN):
                    names = list(self._clips)
                    clip = gr.Dropdown(names, value=names[0] if names else None, label="Clip")
                    upload = gr.File(label="or a video of your own (goes first)", height=150)
                with gr.Column(min_width=_COLUMN):
                    chosen = gr.Radio([s.title for s in schedules], value=schedules[0].title, label="Key frames")
                    sliders = [
                        gr.Slider(s.minimum, s.maximum, s.value, step=s.step, label=s.setting, visible=s is schedules[0])
                        for s in schedules
                    ]
                with gr.Column(min_width=_COLUMN):
                    flow = gr.Dropdown(flows, value=flows[0], label="Motion between key frames", interactive=len(flows) > 1)
                    frames = gr.Number(max_frames, label="Frames at most (0: all)", precision=0, minimum=0)
                    with gr.Row():
                        go = gr.Button("Label", variant="primary", min_width=100)
                        stop = gr.Button("Stop", min_width=100)
            told = gr.HTML()
            with gr.Column(visible=False) as results:
                video = gr.Video(label="Source and overlay", elem_id="labelled", autoplay=True, interactive=False)
                line = gr.HTML(js_on_load=FOLLOW_THE_VIDEO, css_template=TIMELINE_CSS)
                table = gr.Markdown(elem_id="costs")
                shares = gr.File(label="Shares of the classes in every frame", interactive=False)

            def act(values: dict[Any, Any], request: gr.Request, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
                schedule = self._schedules[values[chosen]]
                setting = values[sliders[schedules.index(schedule)]]
                return self._label(
                    values[clip], values[upload], schedule, setting, values[flow], values[frames], request, progress
                )

            outputs = [told, results, video, line, table, shares]
            go.click(act, {clip, upload, chosen, flow, frames, *sliders}, outputs, api_name="label", concurrency_limit=1)
            stop.click(self._stop, None, None, queue=False, api_name=False)
            chosen.change(
                lambda title: [gr.update(visible=s.title == title) for s in schedules] if len(schedules) > 1
                else gr.update(visible=True),
                chosen, sliders, queue=False, api_name=False,
            )  # fmt: skip
            blocks.unload(self._leave)
        return blocks

    def _label(
        self,
        clip: str | None,
        upload: str | None,
        schedule: Schedule,
        setting: float,
        flow: str,
        max_frames: float | None,
        request: Any,
        progress: Callable[..., None],
    ) -> tuple[Any, ...]:
        visit = self._visits.begin(str(request.session_hash))
        try:
            if upload is None and clip is None:
                raise ValueError("Pick a clip, or give a video of your own.")
            source = self._clips[str(clip)]() if upload is None else VideoFrames(upload)
            limit = int(max_frames) if max_frames else None
            labelled = self._labeller.label(
                source, schedule.scheduler(setting), flow, visit.folder, limit, visit.stop, _reporter(progress, source, limit)
            )
        except (OSError, ValueError) as error:
            log.warning("%s", error)
            return message(_without_folder(str(error), upload), "error"), gr.update(visible=False), None, "", "", None
        log.info("%s: %s", source.info.name, in_words(labelled.progress))
        return (
            _without_folder(summary(labelled), upload),
            gr.update(visible=True),
            str(labelled.video),
            timeline(labelled.keys, labelled.progress.position),
            cost_table(labelled.costs, labelled.conditions),
            str(labelled.shares),
        )

    def _stop(self, request: gr.Request) -> None:
        self._visits.stop(str(request.session_hash))

    def _leave(self, request: gr.Request) -> None:
        self._visits.end(str(request.session_hash))


def _reporter(progress: Callable[..., None], source: FrameSource, limit: int | None) -> Callable[[PredictionProgress], None]:
    said = 0.0

    def report(done: PredictionProgress) -> None:
        nonlocal said
        if time.monotonic() - said < _TELL_EVERY:
            return
        said = time.monotonic()
        seconds = source.info.seconds
        share = max(done.position / seconds if seconds else 0.0, done.frames / limit if limit else 0.0)
        progress(min(share, 1.0), desc=in_words(done))

    return report


def _without_folder(text: str, upload: str | None) -> str:
    """The visitor knows the name of the file, and not where it is kept here."""
    return text if upload is None else text.replace(f"{Path(upload).parent}{os.sep}", "")
