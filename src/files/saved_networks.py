"""Reading of ``config.json`` and of the header of a safetensors file, which take no memory for tensors."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_MAX_CONFIG_BYTES = 8_000_000
_TYPES = {
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "BOOL": torch.bool,
    "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "C64": torch.complex64,
}  # fmt: skip


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of limited size; other content is a ``ValueError`` that names the file."""
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; expected the config of a network, at most {_MAX_CONFIG_BYTES}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} contains a {type(values).__name__}; expected an object")
    return values


def read_safetensors_header(path: Path) -> dict[str, Tensor]:
    """Read names, shapes and types of a safetensors file, as tensors on the meta device; a damaged file is an error."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error
    unknown = next(((name, kind) for name, (_, kind) in kinds.items() if kind not in _TYPES), None)
    if unknown is not None:
        raise ValueError(f"{path}: tensor {unknown[0]} is {unknown[1]}; expected one of {', '.join(_TYPES)}")
    return {name: torch.empty(shape, dtype=_TYPES[kind], device="meta") for name, (shape, kind) in kinds.items()}


def damaged(path: Path, error: Exception) -> ValueError:
    """Return the error for a file that safetensors cannot read."""
    return ValueError(f"{path} is not a readable safetensors file (damaged or truncated): {error}")
