"""VSPW (Miao et al., CVPR 2021), and any data in its layout on disk.

```
<root>/train.txt, val.txt, test.txt         one video name a line
<root>/label_num_dic_final.json             class name -> label value, optional
<root>/data/<video>/origin/*.jpg            frames, in the order of their names, which need not be consecutive
<root>/data/<video>/mask/*.png              labels: 0 and 255 = ignore, 1..K = classes
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.data.clips import Colour, FileClips, time_order
from src.data.palette import distinct_palette
from src.structures import IGNORE_INDEX, Clip

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_CLASS_FILE = "label_num_dic_final.json"


class VSPW(FileClips):
    """The videos of one split in VSPW's layout.

    Args:
        root: the folder that holds ``data/`` and the split lists.
        split: name of a list: ``train``, ``val`` or ``test``. Only the ``test`` split may lack masks.
        num_classes: K; 124 in VSPW.
        classes: K names; default those of ``label_num_dic_final.json``, else ``class_0``, ``class_1``, ...
        palette: K colours; default distinct ones.
        fps: frames per second.

    Raises:
        FileNotFoundError: if the root, the list, a listed video or a frame's mask is missing; the message names it.
        ValueError: if a list, the class file or a video's content is not as expected.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        num_classes: int = 124,
        classes: Sequence[str] | None = None,
        palette: Sequence[Colour] | None = None,
        fps: float = 15.0,
    ) -> None:
        self.root = Path(root)
        self.split = split
        if not 1 <= num_classes <= 254:
            raise ValueError(f"num_classes={num_classes}; expected 1..254 (0 and 255 of the label PNGs mean ignore)")
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"{len(classes)} class names but num_classes={num_classes}; expected as many")
        if not (self.root / "data").is_dir():
            raise FileNotFoundError(
                f"{self.root} holds no data/; expected {split}.txt and data/<video>/origin, data/<video>/mask"
            )
        clips = [_read_clip(folder, needs_masks=split != "test") for folder in _listed_videos(self.root, split)]
        super().__init__(
            clips,
            classes if classes is not None else _class_names(self.root / _CLASS_FILE, num_classes),
            palette if palette is not None else distinct_palette(num_classes),
            fps,
            {0: IGNORE_INDEX, 255: IGNORE_INDEX} | {k + 1: k for k in range(num_classes)},
        )


def _listed_videos(root: Path, split: str) -> Iterator[Path]:
    """The folders that the split list names, in its order."""
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a list of video names, one a line")
    seen: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        if name in (".", "..") or "/" in name or "\\" in name:
            raise ValueError(
                f"{path}, line {number}: {name!r} is not a video name; expected the name of a folder in {root / 'data'}"
            )
        if name in seen:
            raise ValueError(f"{path}, line {number}: video {name!r} is already listed on line {seen[name]}")
        seen[name] = number
        folder = root / "data" / name
        if not (folder / "origin").is_dir():
            raise FileNotFoundError(f"{path}, line {number}: video {name!r} is missing; expected the folder {folder / 'origin'}")
        yield folder
    if not seen:
        raise ValueError(f"{path} lists no video; expected one name a line")


def _read_clip(folder: Path, needs_masks: bool) -> Clip:
    images = _files_by_stem(folder / "origin", _IMAGE_SUFFIXES)
    masks = _files_by_stem(folder / "mask", (".png",))
    if not images:
        raise ValueError(f"{folder / 'origin'} holds no frames; expected *.jpg or *.png")
    if masks or needs_masks:
        _check_pairs(folder, images, masks)
    return Clip(folder.name, tuple(images.values()), tuple(masks.get(stem) for stem in images))


def _files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files in time order; a folder that does not exist is an empty one. Hidden files (archive droppings) are passed over."""
    if not folder.is_dir():
        return {}
    paths = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    files = {path.stem: path for path in sorted(paths, key=time_order)}
    if len(files) != len(paths):
        repeated = sorted({p.name for p in paths} - {p.name for p in files.values()})
        raise ValueError(f"{folder}: more than one file for the same frame: {', '.join(repeated[:3])}; expected one each")
    return files


def _check_pairs(folder: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
    unmasked = [image.name for stem, image in images.items() if stem not in masks]
    orphans = [mask.name for stem, mask in masks.items() if stem not in images]
    if unmasked or orphans:
        details = [
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for names, what in ((unmasked, "images without a mask"), (orphans, "masks without an image"))
            if names
        ]
        raise ValueError(f"{folder}: {len(images)} images in origin/ but {len(masks)} masks in mask/ ({'; '.join(details)})")


def _class_names(path: Path, num_classes: int) -> list[str]:
    """Names by label value 1..K; the class file also names 0 (others)."""
    if not path.is_file():
        return [f"class_{k}" for k in range(num_classes)]
    try:
        names = {int(value): str(name) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected a JSON object of class name -> label value") from error
    missing = [value for value in range(1, num_classes + 1) if value not in names]
    if missing:
        raise ValueError(f"{path} names no class for label values {missing[:5]}; expected names for 1..{num_classes}")
    return [names[value] for value in range(1, num_classes + 1)]
