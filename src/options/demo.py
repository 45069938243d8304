"""Options of ``python -m src.demo``, see ``conf/demo.yaml``."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from src.options.fields import Nodes, PathText
from src.options.predict import Network

Port = Annotated[int, Field(ge=1, le=65535)]
_BYTES = WithJsonSchema({"text": "<number>kb | <number>mb | <number>gb"})
Bytes = Annotated[str, Field(pattern=r"(?i)^[1-9]\d{0,5} ?[kmg]b$"), _BYTES]


class Demo(Network):
    """Page to try a model on video."""

    clips: PathText | None
    max_upload: Bytes
    max_stored: Bytes
    schedules: Nodes
    port: Port | None
    open_browser: bool
