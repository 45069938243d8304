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

from src.data.clips import Color, FileClips
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root
from src.structures import IGNORE_INDEX, Clip


class CityscapesClass(NamedTuple):
    """One of the 19 evaluated classes, in the order of their train ids."""

    name: str
    label_id: int
    color: Color


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
IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds\.png")


class Cityscapes(FileClips):
    """The labelled frames of one split, each with the frames on disk around it.

    A clip holds the unbroken run of frames around its labelled one, so that distances between frames are distances in time. Which
    frames belong to a label follows from the number in its own name.

    Args:
        root: the folder that holds ``gtFine/`` and ``leftImg8bit_sequence/`` or ``leftImg8bit/``.
        split: ``train`` or ``val``.
        frames_before: most frames before the labelled one; 19 in the published snippets.
        frames_after: most frames after it; 10 in the published snippets.
        min_clip_length: shorter clips are left out, frames.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); a clip ends before a frame that it names.
        faults: where given, what is wrong is appended here instead of being an error, a hole in a snippet included.

    Raises:
        FileNotFoundError: if a folder or the image of a label is missing; the message names it.
        ValueError: if a label file's name is not as above.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        frames_before: int = 19,
        frames_after: int = 10,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        faults: list[DatasetIssue] | None = None,
    ) -> None:
        self.root = dataset_root(root)
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
        policy = IssuePolicy(self.root, exclude, faults)
        clips = [_read_snippet(path, images, frames_before, frames_after, policy) for path in paths]
        super().__init__(
            [clip for clip in clips if clip is not None],
            [c.name for c in CLASSES],
            [c.color for c in CLASSES],
            17.0,
            {i: IGNORE_INDEX for i in (*_LABEL_IDS, 255)} | {c.label_id: k for k, c in enumerate(CLASSES)},
            policy=policy,
            min_clip_length=min_clip_length,
        )


def _read_snippet(label: Path, images: Path, frames_before: int, frames_after: int, policy: IssuePolicy) -> Clip | None:
    match = LABEL_NAME.fullmatch(label.name)
    if match is None:
        message = f"{label}: unexpected name; expected <city>_<seq6>_<frame6>_gtFine_labelIds.png"
        policy.report(DatasetIssue("layout", label, message))
        return None
    frame = int(match["frame"])
    # A label near the start of its recording has fewer frames before it.
    numbers = range(max(frame - frames_before, 0), frame + frames_after + 1)
    paths = {n: images / label.parent.name / f"{match['city']}_{match['sequence']}_{n:06d}{IMAGE_SUFFIX}" for n in numbers}
    there = {n for n, path in paths.items() if path.is_file() and not policy.excludes(path)}
    if frame not in there:
        message = f"{paths[frame]} does not exist; expected the image of {label}"
        policy.report(DatasetIssue("missing", paths[frame], message))
        return None
    if policy.noted is not None:
        # No error: the run around the label can be used, and it is up to the user whether that is enough.
        holes = [n for n in range(min(there), max(there)) if n not in there]
        policy.report(*(DatasetIssue("missing", paths[n], f"{paths[n]} is missing from the snippet of {label}") for n in holes))
    before = list(takewhile(there.__contains__, range(frame - 1, numbers.start - 1, -1)))
    after = list(takewhile(there.__contains__, range(frame + 1, numbers.stop)))
    return Clip(
        f"{match['city']}_{match['sequence']}_{match['frame']}",
        tuple(paths[n] for n in (*reversed(before), frame, *after)),
        (*[None] * len(before), label, *[None] * len(after)),
    )
