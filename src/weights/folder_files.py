"""Folder of ``config.json`` and ``model.safetensors``, written atomically; safe reading of it and of checkpoints."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from src.files.results.owned_folder import Scratch, output_lock
from src.files.saved_networks import damaged, read_json_object, read_safetensors_header
from src.files.torch_files import read_torch

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
"""Model card beside them, which is not read."""
CLIP_FORMAT = "mpvss-clip-model"
"""Format of a folder of a clip segmentor."""


def plain_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to plain JSON values (tuples become lists); a value without a JSON form is an error."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"model config has a value without a JSON form ({error}); expected plain JSON values") from error
    return plain


def write_folder(folder: Path, config: Mapping[str, Any], module: nn.Module, formats: Sequence[str]) -> None:
    """Write a model folder; an existing one is replaced, and other files in it stay.

    The config is the last file that appears. What a killed process left is undone by the next one that writes or reads the
    folder.

    Args:
        folder: folder to write.
        config: plain JSON values.
        module: network to save.
        formats: values of ``format`` in the config of folders that may be replaced.

    Raises:
        FileExistsError: if ``folder`` is a file, or a non-empty folder of another kind.
        OSError: if another process writes to it, or a file cannot be written.
    """
    target = folder.resolve()
    if target.exists() and not may_replace(target, formats):
        raise FileExistsError(
            f"{folder} exists without a {CONFIG_FILE} of this project; expected a model folder or a new name; nothing was written"
        )
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}

    def listed(_: Path, note: Mapping[str, Any]) -> list[str] | None:
        return [WEIGHTS_FILE] if note.get("format") in formats else None

    with output_lock(target), Scratch(target, earlier=listed, marker=CONFIG_FILE) as at:
        (at.new / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, at.new / WEIGHTS_FILE)
        # Readable by whom the user's umask allows, unlike what safetensors writes.
        shutil.copymode(at.new / CONFIG_FILE, at.new / WEIGHTS_FILE)
        at.commit(None, overwrite=True)


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file or other content is an error."""
    _require_file(path)
    return read_json_object(path)


def read_header(path: Path) -> dict[str, Tensor]:
    """Read names, shapes and types of a safetensors file, as tensors on the meta device; a damaged file is an error."""
    _require_file(path)
    return read_safetensors_header(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; an absent or damaged file is an error."""
    _require_file(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error


def may_replace(folder: Path, formats: Sequence[str]) -> bool:
    """Return whether a folder is empty, but for what a killed process left, or a model folder of one of the formats."""
    if not folder.is_dir():
        return False
    if all(path.name.startswith(".mpvss.") for path in folder.iterdir()):
        return True
    try:
        return read_config(folder / CONFIG_FILE).get("format") in formats
    except (FileNotFoundError, ValueError):
        return False


def _require_file(path: Path) -> None:
    if not path.is_file() and any(path.parent.glob(".mpvss.*.partial")):
        # A process was killed while it replaced the files; this puts them back.
        with output_lock(path.parent):
            pass
    if not path.is_file():
        found = "is no file" if path.exists() else "is a link to nothing" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {found}; expected a model folder of {CONFIG_FILE} and {WEIGHTS_FILE}")


def read_checkpoint(path: Path, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the model's configuration and weights of a Lightning checkpoint (``.ckpt``) as data.

    Args:
        path: checkpoint of a training of this project.
        prefix: prefix of the network's tensors, which is removed; others are left out.

    Raises:
        ValueError: if the file is damaged or of another kind.
    """
    checkpoint = read_torch(path)
    if not isinstance(checkpoint, dict) or not {"model_config", "state_dict"} <= set(checkpoint):
        raise ValueError(f"{path} is not a checkpoint of this project; expected the keys 'model_config' and 'state_dict'")
    config, state = checkpoint["model_config"], checkpoint["state_dict"]
    for name, value in (("model_config", config), ("state_dict", state)):
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{path}: {name} is {type(value).__name__}; expected a dict with names as keys")
    tensors = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if odd := next((name for name, value in tensors.items() if not isinstance(value, Tensor) or value.is_meta), None):
        raise ValueError(f"{path}: {prefix}{odd} is no tensor with values; expected the weights of a model")
    return config, tensors
