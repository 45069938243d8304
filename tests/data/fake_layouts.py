"""Tiny fakes of the datasets' layouts on disk."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)


def write_image(path: Path, size=SIZE, value=100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def write_label(path: Path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    Image.fromarray(values if values.dtype == np.uint16 else values.astype(np.uint8)).save(path)


def label(*values: int, size=SIZE) -> np.ndarray:
    """Return equally wide columns of the given values."""
    columns = np.array(values, np.uint8)[np.arange(size[1]) * len(values) // size[1]]
    return np.tile(columns, (size[0], 1))


def write_vspw(root: Path, videos: dict[str, list[str]], split="train", masks=True, names=None) -> Path:
    """Write videos, name -> stems of frames; frame i has grey value i and the label values 0, i + 1, 255."""
    for video, frames in videos.items():
        for i, frame in enumerate(frames):
            write_image(root / "data" / video / "origin" / f"{frame}.jpg", value=i)
            if masks:
                write_label(root / "data" / video / "mask" / f"{frame}.png", label(0, i + 1, 255))
    (root / f"{split}.txt").write_text("\n".join(videos))
    if names is not None:
        (root / "label_num_dic_final.json").write_text(json.dumps(names))
    return root
