"""Identity of inputs and weights by content: size and SHA-256."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

Fingerprint = dict[str, int | str]
"""``bytes`` and ``sha256``."""


def fingerprint(path: Path) -> Fingerprint | None:
    """Return the identity of a file, or of a folder's names and files without hidden ones; ``None`` for anything else."""
    if path.is_file():
        with path.open("rb") as opened:
            return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}
    if not path.is_dir():
        return None
    total, digest = 0, hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            one = fingerprint(file) or {}
            total += int(one["bytes"])
            digest.update(f"{name.as_posix()!r} {one['sha256']}\n".encode())
    return {"bytes": total, "sha256": digest.hexdigest()}


def tensor_fingerprint(tensors: Mapping[str, Tensor], note: str = "") -> Fingerprint:
    """Return the identity of named tensors, whatever file they were read from, and of a ``note`` about them."""
    total, digest = 0, hashlib.sha256(note.encode())
    for name, tensor in sorted(tensors.items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        total += data.nbytes
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(data.data)
    return {"bytes": total, "sha256": digest.hexdigest()}
