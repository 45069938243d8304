"""Cityscapes (Cordts et al., CVPR 2016) as video: one clip around each finely labelled frame.

```
<root>/leftImg8bit_sequence/<split>/<city>/<city>_<seq6>_<frame6>_leftImg8bit.png    30 frames around each label, 17 fps
<root>/leftImg8bit/<split>/<city>/...                                                read if the above is absent
<root>/gtFine/<split>/<city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png
```
"""

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.structures import IGNORE_INDEX, Clip


class CityscapesClass(NamedTuple):
    """One of the 19 evaluated classes, in the order of their train ids."""

    name: str
    label_id: int


CLASSES = tuple(
    CityscapesClass(entry["name"], entry["label_id"])
    for entry in json.loads(Path(__file__).with_name("cityscapes_classes.json").read_text(encoding="utf-8"))
)
_LABEL_IDS = range(34)
IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds\.png")


class Cityscapes(DatasetFolder):
    """The labelled frames of one split, each with the frames on disk around it; further arguments as of :class:`DatasetFolder`.

    A clip is the unbroken run of frames around its labelled frame, so that frame distances are time distances. The frame number
    in the label's name determines the frames of a clip. A frame on the exclusion list ends the run. Missing frames within a
    snippet are reported only if issues are collected.

    Splits: ``train`` or ``val``.

    Args:
        frames_before: maximum number of frames before the labelled one; 19 in the published snippets.
        frames_after: maximum number of frames after it; 10 in the published snippets.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        frames_before: int = 19,
        frames_after: int = 10,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        issues: list[DatasetIssue] | None = None,
    ) -> None:
        self._extent = frames_before, frames_after
        super().__init__(root, split, min_clip_length, exclude, issues)

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the snippets; see :meth:`DatasetFolder.load_split`."""
        images = self.root / "leftImg8bit_sequence" / self.split
        if not images.is_dir():
            images = self.root / "leftImg8bit" / self.split
        labels = self.root / "gtFine" / self.split
        for folder in (labels, images):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder} does not exist; expected gtFine/ and leftImg8bit_sequence/ or leftImg8bit/")
        paths = sorted(labels.glob("*/*_labelIds.png"))
        if not paths:
            raise FileNotFoundError(
                f"{labels} contains no *_labelIds.png; expected <city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png"
            )
        clips = [_read_snippet(path, images, *self._extent, policy) for path in paths]
        return SplitContent(
            [clip for clip in clips if clip is not None],
            [c.name for c in CLASSES],
            17.0,
            {i: IGNORE_INDEX for i in (*_LABEL_IDS, 255)} | {c.label_id: k for k, c in enumerate(CLASSES)},
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
    usable = {n for n, path in paths.items() if path.is_file() and not policy.excludes(path)}
    if frame not in usable:
        message = f"{paths[frame]} does not exist; expected the image of {label}"
        policy.report(DatasetIssue("missing", paths[frame], message))
        return None
    if policy.issues is not None:
        # Never an error: the run around the label is usable.
        missing = [n for n in range(min(usable), max(usable)) if n not in usable]
        policy.report(*(DatasetIssue("missing", paths[n], f"{paths[n]} is missing from the snippet of {label}") for n in missing))
    before = list(takewhile(usable.__contains__, range(frame - 1, numbers.start - 1, -1)))
    after = list(takewhile(usable.__contains__, range(frame + 1, numbers.stop)))
    return Clip(
        f"{match['city']}_{match['sequence']}_{match['frame']}",
        tuple(paths[n] for n in (*reversed(before), frame, *after)),
        (*[None] * len(before), label, *[None] * len(after)),
    )
