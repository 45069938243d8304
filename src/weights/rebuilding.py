"""Building of a network from the config and the tensors of files, compared with each other before any is allocated."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.files.torch_files import reason
from src.models.config_limits import check_limits
from src.weights.earlier_release import translate_flow
from src.weights.metadata import check_metadata
from src.weights.renaming import Network, load_renamed

_MAX_BUFFER_BYTES = 1 << 28


def rebuild(
    build: Callable[[Mapping[str, Any]], Network],
    config: dict[str, Any],
    prefix: str,
    read: Callable[[], dict[str, Tensor]],
    header: Mapping[str, Tensor],
    path: Path,
    source: Path,
) -> Network:
    """Build a network from files: first without memory, to compare it with the tensors of its file, then with their values.

    Args:
        build: builds the network of a config.
        config: content of ``source``.
        prefix: prefix of the names of the flow's tensors.
        read: reads the tensors of the file.
        header: these tensors, or their shapes and types on the meta device.
        path: file or folder of the tensors, for messages.
        source: file of the config.
    """
    plain = {name for name, value in header.items() if value.layout == torch.strided and not value.is_quantized}
    shapes = {name: torch.empty_like(value, device="meta") if name in plain else value for name, value in header.items()}
    new_config, shapes = translate_flow(config, shapes, prefix, None)
    try:
        check_metadata(config.get("metadata", {}))
        check_limits({key: value for key, value in new_config.items() if key != "metadata"})
        with torch.device("meta"), torch.random.fork_rng(devices=()):
            empty = build(new_config)
    except ValueError as error:
        raise ValueError(f"{source}: {' '.join(str(error).split())[:1000]}") from error
    # Libraries raise errors of many types for sizes that do not fit one another.
    except Exception as error:
        raise ValueError(f"{source}: the config does not fit this code: {reason(error)}") from error
    load_state(empty, shapes, path)
    extra = _count_bytes(empty.buffers()) - _count_bytes(shapes.values())
    if extra > _MAX_BUFFER_BYTES:
        raise ValueError(f"{source}: its network needs {extra} bytes beyond its weights; expected at most {_MAX_BUFFER_BYTES}")
    network = build(new_config)
    load_state(network, translate_flow(config, read(), prefix, path)[1], path)
    return network


def _count_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors)


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load exactly the tensors of a network; ``path`` is their file or folder, for messages."""
    try:
        load_renamed(module, tensors, {name: (name,) for name in module.state_dict()})
    except ValueError as error:
        raise ValueError(f"{path} does not fit the network of its config: {error}") from error
