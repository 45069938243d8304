"""Folder of ``config.json`` and ``model.safetensors``: atomic writing and safe reading."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from src.files.saved_networks import damaged, read_json_object, read_safetensors_header

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def plain_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to plain JSON values (tuples become lists); a value without a JSON form is an error."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"model config has a value without a JSON form ({error}); expected plain JSON values") from error
    return plain


def write_folder(folder: Path, config: Mapping[str, Any], module: nn.Module, formats: Sequence[str]) -> None:
    """Write a model folder; an existing one is replaced, and other files in it stay.

    A new folder appears atomically. Replacing one takes two renames; a process killed between them leaves the old folder as
    ``.<name>.*/old``.

    Args:
        folder: folder to write.
        config: plain JSON values.
        module: network to save.
        formats: values of ``format`` in the config of folders that may be replaced.

    Raises:
        FileExistsError: if ``folder`` is a file, or a non-empty folder of another kind.
    """
    target = folder.resolve()
    if target.exists() and not _may_replace(target, formats):
        raise FileExistsError(
            f"{folder} exists without a {CONFIG_FILE} of this project; expected a model folder or a new name; nothing was written"
        )
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in module.state_dict().items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        (new / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, new / WEIGHTS_FILE)
        # Readable by whom the user's umask allows, unlike what safetensors writes.
        shutil.copymode(new / CONFIG_FILE, new / WEIGHTS_FILE)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        for extra in old.iterdir() if old.exists() else ():
            if extra.name not in (CONFIG_FILE, WEIGHTS_FILE):
                extra.rename(target / extra.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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


def _require_file(path: Path) -> None:
    if not path.is_file():
        found = "is no file" if path.exists() else "is a link to nothing" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {found}; expected a model folder of {CONFIG_FILE} and {WEIGHTS_FILE}")


def _may_replace(folder: Path, formats: Sequence[str]) -> bool:
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return read_config(folder / CONFIG_FILE).get("format") in formats
    except (FileNotFoundError, ValueError):
        return False
