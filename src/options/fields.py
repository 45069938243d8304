"""Types of options, each with its range; shared by the models of all entry points."""

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema


class Options(BaseModel):
    """Options of an entry point, or of a mapping in them: strict types, finite numbers, no other keys.

    Texts that explain the options are the comments of ``conf/``, which ``--help`` shows.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return the options that must have a value, in view of the others; ``None``: all without a default."""
        return None


class Part(Options):
    """Mapping with further keys: those of other choices of its group, or arguments of its ``_target_``."""

    model_config = ConfigDict(extra="allow")


def _as_text(value: Any) -> Any:
    """Return an integer as text, since Hydra reads a name such as 2024 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _path(value: Any) -> Any:
    """Accept any file name, also one that is no Unicode."""
    if not isinstance(_as_text(value), str) or not str(value).strip() or "\0" in str(value):
        raise ValueError("no path")
    return value


Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
PathText = Annotated[Any, PlainValidator(_path), WithJsonSchema({"text": "a path"})]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1, le=16384)]
Size = Annotated[list[Side], Field(min_length=2, max_length=2)]
KeyIntervals = Annotated[list[Count], Field(min_length=1)]
FrameRate = Annotated[float, Field(gt=0, le=1000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Threads = Annotated[int, Field(ge=1, le=max(64, 4 * (os.cpu_count() or 1)))]
_DEVICES = WithJsonSchema({"text": "auto | cpu | mps | cuda | cuda:<number>"})
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"), _DEVICES]
Autocast = Literal["bfloat16", "float16"] | None
Compile = bool | Literal["backbone"]
MapSize = Literal["image", "mask"]
Runtime = Literal["auto", "eager", "graph", "onnx", "openvino"]
Mode = Literal["online", "offline"]
FirstFrames = Literal["official", "alone"]
Fusion = Literal["nearest", "linear", "photometric", "consistency", "learned"]
CarryingFlow = Literal["auto", "own", "dis", "dis_fine", "copy", "pixel", "query", "correlation"]
FlowName = CarryingFlow | Literal["videomt"]
DenseSize = Literal["checkpoint", "frame"]
NetworkSide = Literal["checkpoint"] | Side | None
Palette = Literal["names", "dataset"]
Split = Literal["train", "val", "test"]
Port = Annotated[int, Field(ge=1, le=65535)]
_PLACE = WithJsonSchema({"text": "<port>, or <host>:<port>"})
LivePage = Port | Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+:[1-9]\d{0,4}$"), _PLACE]
_BYTES = WithJsonSchema({"text": "<number>kb | <number>mb | <number>gb"})
Bytes = Annotated[str, Field(pattern=r"(?i)^[1-9]\d{0,5} ?[kmg]b$"), _BYTES]
Nodes = dict[str, dict[str, Any] | None]


class Paths(Options):
    """``conf/paths``."""

    data: PathText
    runs: PathText
    shared_data: PathText
