"""Options of ``python -m src.demo``, see ``conf/demo.yaml``."""

from typing import Annotated

from pydantic import Field

from src.options.fields import Nodes, PathText, matching
from src.options.predict import Network

Port = Annotated[int, Field(ge=1, le=65535)]


class Demo(Network):
    """Page to try a model on video."""

    clips: PathText | None
    max_upload: matching(r"[1-9]\d{0,5} ?[kmg]b", "<number>kb | <number>mb | <number>gb")  # type: ignore[valid-type]
    schedules: Nodes
    port: Port | None
    open_browser: bool
