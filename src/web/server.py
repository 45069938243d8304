"""Gradio's server for the demo page: guarded, one file in a request, every upload in a folder of its own."""

import secrets
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, route_utils
from gradio.routes import App, ORJSONResponse

from src.web.guard import Guard, Quota

HOST = "127.0.0.1"
"""The only address of the page."""


class _UploadParser(route_utils.GradioMultiPartParser):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_files": 1, "max_fields": 0})

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        file = self._current_part.file
        # Gradio names the folder by a hash of the content; salted, the same video in two sessions is stored twice, so that one
        # session can delete it.
        file.sha.update(secrets.token_bytes(16))
        if Path(file.filename).name in ("", ".", ".."):
            file.filename = "video"


class _GuardedApp(App):  # type: ignore[misc]
    quota: Quota

    def build_middleware_stack(self) -> Guard:
        # Around Gradio's own middleware, which answers preflight requests by itself.
        return Guard(super().build_middleware_stack(), self.quota)


async def _refuse_address(url: str, cache_dir: str) -> str:
    # Gradio would fetch an address that stands in the place of an upload, of any size.
    raise gr.Error("an address is given in the place of an uploaded file; expected an upload", print_exception=False)


def serve(blocks: Any, port: int | None, open_browser: bool, quota: Quota, css: str) -> str:
    """Serve Gradio's ``blocks`` in separate threads, only for browsers on this machine, and return the address.

    ``port`` ``None`` is the first free one from 7860.
    """
    route_utils.GradioMultiPartParser = _UploadParser
    processing_utils.async_ssrf_protected_download = _refuse_address
    app = _GuardedApp(default_response_class=ORJSONResponse)
    app.quota = quota
    _, address, _ = blocks.launch(
        server_name=HOST, server_port=port, share=False, inbrowser=open_browser, max_file_size=quota.max_upload, quiet=True,
        prevent_thread_lock=True, show_error=True, ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False,
        run_history=False, footer_links=[], css=css, theme=gr.themes.Default(), _app=app,
    )  # fmt: skip
    return str(address)
