"""Safe reading of files of ``torch.save``: only tensors and plain values, in no more memory than the file has bytes."""

import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def read_torch(path: Path, allowed: Sequence[tuple[Any, str]] = (), device: str = "cpu") -> Any:
    """Read the content of a file.

    Args:
        path: file of ``torch.save``, old or new format.
        allowed: further names, each with what it stands for.
        device: device of the tensors; ``meta`` leaves out their values.

    Raises:
        ValueError: if the file is damaged, compressed, or refers to other names.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_sizes(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error
    # On a damaged file the unpickler raises errors of many types.
    except Exception as error:
        # Not chained, as torch's message advises to disable the protection.
        raise ValueError(f"{path} cannot be read: {reason(error)}; expected only tensors, numbers and containers") from None


def _check_sizes(path: Path) -> None:
    # torch stores without compression, so that a small file cannot ask for much memory.
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    packed = next((entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise ValueError(f"its entry {packed} is compressed, which torch.save never does")
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise ValueError(f"its entries have {total} bytes, more than the file of {path.stat().st_size}")


def reason(error: Exception) -> str:
    """Return the reason of an error in one line; torch's own message has a page."""
    text = str(error)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"its content refers to {named[1]}"
    if found := re.search(r"WeightsUnpickler error: (.+)", text):
        return found[1]
    if "weights_only" in text:
        return "it is no file of torch.save"
    first = text.partition("\n")[0].partition(". This is")[0][:300]
    return first if isinstance(error, pickle.UnpicklingError | ValueError | OSError) else f"{type(error).__name__}: {first}"
