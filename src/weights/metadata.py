"""Types in ``config.json`` of a model folder: of the arguments of its flow, and of the metadata that other programs rely on."""

from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Name = Annotated[str, Field(max_length=200)]
Level = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1, le=65_536)]


class _Metadata(BaseModel):
    """Fields with a meaning; others may be anything."""

    model_config = ConfigDict(strict=True, extra="allow")

    classes: Annotated[list[Name], Field(max_length=65_536)] | None = None
    palette: Annotated[list[Annotated[list[Level], Field(min_length=3, max_length=3)]], Field(max_length=65_536)] | None = None
    palette_chosen: bool | None = None
    short_side: Side | None = None
    max_long_side: Side | None = None
    stage: Name | None = None
    data: Name | None = None


def check_metadata(metadata: Any) -> None:
    """Raise a ``ValueError`` in one line unless the metadata of a model are an object whose known fields have their types."""
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata is {type(metadata).__name__}; expected an object")
    try:
        _Metadata.model_validate(metadata)
    except ValidationError as error:
        raise ValueError(f"metadata {_first_fault(error)}") from None


def check_arguments(network: type[Any], arguments: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` unless values from a file are arguments of a network; its weights are never downloaded for them."""
    types = {name: kind for name, kind in get_type_hints(network.__init__).items() if name not in ("return", "weights")}
    for name, value in arguments.items():
        if name not in types:
            raise ValueError(f"flow config has {name[:60]!r}; expected some of {', '.join(types)}")
        try:
            TypeAdapter(types[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"flow config {name} {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"][:3]))
    return f"{place} is {str(first['input'])[:60]!r}; {first['msg']}".lstrip()
