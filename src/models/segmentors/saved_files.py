"""Files of networks saved by transformers, checked before transformers reads them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from src.files.saved_networks import read_json_object, read_safetensors_header
from src.files.torch_files import read_torch

_SAFETENSORS, _PICKLED = "model.safetensors", "pytorch_model.bin"
_MAX_CLASSES = 65_536
_MAX_NUMBER = 1_000_000
"""Largest whole number of a config; ids of tokens are the largest in practice."""
_SPARE_BYTES = 1 << 28


@contextmanager
def naming(path_or_id: str) -> Iterator[None]:
    """Name the source in errors of reading, and what to give instead; each is one line, ``OSError`` or ``ValueError``."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot read a network from {path_or_id!r}: {_line(error)}; "
            "give a local folder with config.json and model.safetensors, or a hub id that can be reached"
        ) from error
    # Readers of damaged files raise errors of many types.
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"cannot read a network from {path_or_id!r}: {kind}{_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def check_saved_config(values: Any, source: str) -> None:
    """Check the numbers of a config before transformers builds anything from them, such as the names of ``num_labels`` classes.

    Raises:
        ValueError: if a number is too large, or the class names are not numbered.
    """
    waiting = [("config.json", values)]
    while waiting:
        name, value = waiting.pop()
        limit = _MAX_CLASSES if name == "num_labels" else _MAX_NUMBER
        if isinstance(value, int) and abs(value) > limit:
            raise ValueError(f"{source}: {name} has {value.bit_length()} bits; expected a number of at most {limit}")
        if name == "id2label" and value is not None:
            _check_class_names(value, source)
        if isinstance(value, Mapping | list | str) and len(value) > _MAX_CLASSES:
            raise ValueError(f"{source}: {name} has {len(value)} entries; expected at most {_MAX_CLASSES}")
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, one) for one in value]


def _check_class_names(names: Any, source: str) -> None:
    numbered = isinstance(names, Mapping) and all(str(key).isdecimal() for key in names)
    if not numbered or not all(len(str(name)) <= 200 for name in names.values()):
        raise ValueError(f"{source}: id2label is {str(names)[:100]}; expected class names of at most 200 characters, by number")


def read_saved_header(source: str) -> dict[str, Tensor]:
    """Return the saved tensors of a folder or hub id without their values, on the meta device."""
    with naming(source):
        header: dict[str, Tensor] = {}
        for file in _weight_files(source):
            pickled = file.suffix != ".safetensors"
            header |= read_torch(file, device="meta") if pickled else read_safetensors_header(file)
    return header


def _weight_files(source: str) -> list[Path]:
    """Return the files that transformers would read; an index may only name files beside it."""
    for name in (_SAFETENSORS, f"{_SAFETENSORS}.index.json", _PICKLED, f"{_PICKLED}.index.json"):
        found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        if found is None:
            continue
        if not name.endswith(".json"):
            return [Path(found)]
        parts = read_json_object(Path(found)).get("weight_map")
        names = sorted({str(part) for part in parts.values()}) if isinstance(parts, Mapping) else []
        if not names or any(Path(part).name != part or part.startswith(".") for part in names):
            raise ValueError(f"{found}: weight_map names {', '.join(names)[:200] or 'no file'}; expected files beside it")
        return [Path(str(cached_file(source, part))) for part in names]
    raise OSError(f"no {_SAFETENSORS} or {_PICKLED}")


def check_memory(
    network_class: type[PreTrainedModel], config: PreTrainedConfig, header: Mapping[str, Tensor], source: str
) -> None:
    """Raise a ``ValueError`` if the network of a config is much larger than its saved tensors."""
    with torch.device("meta"), torch.random.fork_rng(devices=()):
        network: Any = network_class(config)
    needed = 4 * sum(value.numel() for value in network.state_dict().values())
    saved = 4 * sum(value.numel() for value in header.values())
    if needed > saved + _SPARE_BYTES:
        raise ValueError(f"the network of config.json has {needed} bytes; expected those of its weights, {saved}")
