"""Resizing of VSPW to 480p: images bilinear, masks nearest.

Sizes, filters and JPEG quality equal those of the published 480p script (Pillow, width = 480 * w / h rounded down, quality 75),
so that scores are comparable with published ones.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from src.data.datasets.frame_folders import subfolders
from src.files.atomic_write import atomic_path, write_label_png, write_text
from src.files.images.readers import read_label_png, read_rgb
from src.files.suffixes import IMAGE_SUFFIXES, LABEL_SUFFIXES, is_hidden
from src.structures import Size

_LISTS = ("train.txt", "val.txt", "test.txt", "label_num_dic_final.json")
_SETTINGS = "prepared.json"
_WRITTEN = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class ResizeSettings:
    """Shorter side of the results in pixels, and JPEG quality, 1..100."""

    short_side: int = 480
    jpeg_quality: int = 75

    def __post_init__(self) -> None:
        if self.short_side < 1 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"{self}; expected at least 1 pixel and a quality of 1..100")

    def size_for(self, size: Size) -> Size:
        """Return (H, W) of the result for an image of (H, W), with the longer side rounded down."""
        height, width = size
        if height <= width:
            return self.short_side, self.short_side * width // height
        return self.short_side * height // width, self.short_side


class ResizeTask(NamedTuple):
    """One file to resize."""

    source: Path
    target: Path
    settings: ResizeSettings


def start_target(source: Path, target: Path, settings: ResizeSettings) -> None:
    """Create the target folder, or check that an existing one was started with the same settings.

    Raises:
        FileNotFoundError: if ``source`` is not a folder in VSPW's layout.
        ValueError: if ``target`` is ``source``, or has other content or settings.
    """
    if not (source / "data").is_dir():
        raise FileNotFoundError(f"{source} holds no data/; expected VSPW: data/<video>/origin, data/<video>/mask, train.txt")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the source itself; expected another folder")
    note = f'{{"short_side": {settings.short_side}, "jpeg_quality": {settings.jpeg_quality}}}\n'
    path = target / _SETTINGS
    if path.is_file():
        if (found := path.read_text(encoding="utf-8")) != note:
            raise ValueError(f"{path} contains {found.strip()}; expected {note.strip()}; choose another folder")
    elif target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty and holds no {_SETTINGS}; expected a new folder, or one started by this script")
    else:
        write_text(path, note)


def open_tasks(source: Path, target: Path, settings: ResizeSettings) -> Iterator[ResizeTask]:
    """Yield the images and masks, video by video, that have no result yet; results are written atomically."""
    for video in subfolders(source / "data"):
        for part, suffixes in (("origin", IMAGE_SUFFIXES), ("mask", LABEL_SUFFIXES)):
            folder, results = source / "data" / video / part, target / "data" / video / part
            existing = {path.name for path in results.iterdir()} if results.is_dir() else set()
            if not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                name = path.name if path.suffix.lower() in _WRITTEN else f"{path.stem}.png"
                if path.suffix.lower() in suffixes and not is_hidden(path) and name not in existing:
                    yield ResizeTask(path, results / name, settings)


def resize_file(task: ResizeTask) -> str | None:
    """Resize one file, or return an error message if it cannot be read; a file of the final size is copied byte for byte."""
    source, target, settings = task
    is_mask = source.parent.name == "mask"
    if not source.is_file() or source.stat().st_size == 0:
        return f"{source} {'is empty (0 bytes)' if source.is_file() else 'does not exist'}; expected an image"
    try:
        pixels = read_label_png(source) if is_mask else read_rgb(source, interleaved=True).permute(1, 2, 0).numpy()
    except ValueError as error:
        return str(error)
    height, width = settings.size_for((pixels.shape[0], pixels.shape[1]))
    filter_ = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
    with atomic_path(target) as temporary:
        if pixels.shape[:2] == (height, width):
            shutil.copyfile(source, temporary)
        elif is_mask:
            write_label_png(temporary, np.asarray(Image.fromarray(pixels).resize((width, height), filter_)))
        else:
            Image.fromarray(pixels).resize((width, height), filter_).save(temporary, quality=settings.jpeg_quality)
    return None


def copy_lists(source: Path, target: Path) -> list[str]:
    """Copy split lists and class names, and return the names of the copied files."""
    names = [name for name in _LISTS if (source / name).is_file()]
    for name in names:
        with atomic_path(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
    return names
