"""Cityscapes (Cordts et al., CVPR 2016) as video: one clip around each finely labelled frame.

```
<root>/leftImg8bit_sequence/<split>/<city>/<city>_<seq6>_<frame6>_leftImg8bit.png    30 frames around each label, 17 fps
<root>/leftImg8bit/<split>/<city>/...                                                read where the above is absent
<root>/gtFine/<split>/<city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png
```
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from src.data.clips import Colour, FileClips
from src.structures import IGNORE_INDEX, Clip


class CityscapesClass(NamedTuple):
    """One of the 19 evaluated classes, in the order of their train ids."""

    name: str
    label_id: int
    colour: Colour


CLASSES = (
    CityscapesClass("road", 7, (128, 64, 128)),
    CityscapesClass("sidewalk", 8, (244, 35, 232)),
    CityscapesClass("building", 11, (70, 70, 70)),
    CityscapesClass("wall", 12, (102, 102, 156)),
    CityscapesClass("fence", 13, (190, 153, 153)),
    CityscapesClass("pole", 17, (153, 153, 153)),
    CityscapesClass("traffic light", 19, (250, 170, 30)),
    CityscapesClass("traffic sign", 20, (220, 220, 0)),
    CityscapesClass("vegetation", 21, (107, 142, 35)),
    CityscapesClass("terrain", 22, (152, 251, 152)),
    CityscapesClass("sky", 23, (70, 130, 180)),
    CityscapesClass("person", 24, (220, 20, 60)),
    CityscapesClass("rider", 25, (255, 0, 0)),
    CityscapesClass("car", 26, (0, 0, 142)),
    CityscapesClass("truck", 27, (0, 0, 70)),
    CityscapesClass("bus", 28, (0, 60, 100)),
    CityscapesClass("train", 31, (0, 80, 100)),
    CityscapesClass("motorcycle", 32, (0, 0, 230)),
    CityscapesClass("bicycle", 33, (119, 11, 32)),
)
_LABEL_IDS = range(34)
_SUFFIX = "_leftImg8bit.png"
_LABEL_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds\.png")


class Cityscapes(FileClips):
    """The labelled frames of one split, each with the frames on disk around it.

    A clip holds the unbroken run of frames around its labelled one, so that distances between frames are distances in time.

    Args:
        root: the folder that holds ``gtFine/`` and ``leftImg8bit_sequence/`` or ``leftImg8bit/``.
        split: ``train`` or ``val``.
        frames_before: most frames before the labelled one; 19 in the published snippets.
        frames_after: most frames after it; 10 in the published snippets.

    Raises:
        FileNotFoundError: if a folder or the image of a label is missing; the message names it.
        ValueError: if a label file's name is not as above.
    """

    def __init__(self, root: str | Path, split: str, frames_before: int = 19, frames_after: int = 10) -> None:
        self.root = Path(root)
        self.split = split
        images = self.root / "leftImg8bit_sequence" / split
        if not images.is_dir():
            images = self.root / "leftImg8bit" / split
        labels = self.root / "gtFine" / split
        for folder in (labels, images):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} does not exist; expected gtFine/ and leftImg8bit_sequence/ or leftImg8bit/")
        paths = sorted(labels.glob("*/*_labelIds.png"))
        if not paths:
            raise FileNotFoundError(f"{labels} holds no labels; expected <city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png")
        super().__init__(
            [_clip(path, images, frames_before, frames_after) for path in paths],
            [c.name for c in CLASSES],
            [c.colour for c in CLASSES],
            17.0,
            {i: IGNORE_INDEX for i in (*_LABEL_IDS, 255)} | {c.label_id: k for k, c in enumerate(CLASSES)},
        )


def _clip(label: Path, images: Path, frames_before: int, frames_after: int) -> Clip:
    match = _LABEL_NAME.fullmatch(label.name)
    if match is None:
        raise ValueError(f"{label}: unexpected name; expected <city>_<seq6>_<frame6>_gtFine_labelIds.png")
    frame = int(match["frame"])

    def image(number: int) -> Path:
        return images / label.parent.name / f"{match['city']}_{match['sequence']}_{number:06d}{_SUFFIX}"

    if not image(frame).is_file():
        raise FileNotFoundError(f"{image(frame)} does not exist; expected the image of {label}")
    before = list(takewhile(Path.is_file, (image(n) for n in range(frame - 1, max(frame - 1 - frames_before, -1), -1))))
    after = list(takewhile(Path.is_file, (image(n) for n in range(frame + 1, frame + 1 + frames_after))))
    return Clip(
        f"{match['city']}_{match['sequence']}_{match['frame']}",
        (*reversed(before), image(frame), *after),
        (*[None] * len(before), label, *[None] * len(after)),
    )
