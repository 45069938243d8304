"""The user's own data: folders of frames and masks, and ``classes.yaml``. ``docs/datasets.md`` explains it step by step.

```
<root>/classes.yaml                names, mask values and colors of the classes; see src/data/datasets/classes_yaml.py
<root>/frames/<video>/*.jpg|png    frames, in the order of their names, in any format of src/files/suffixes.py
<root>/masks/<video>/*.png         masks of some or all frames, named like the frames: grey values, palette indices, or colors
<root>/<split>.txt                 optional: the videos of a split, one name per line
```

Without ``val.txt``, a part of the training videos is held out for validation (``src/data/datasets/own/held_out.py``); without
``train.txt``, all videos but those of ``val.txt`` are for training.
"""

import logging
from pathlib import Path

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.datasets.classes_yaml import read_classes_yaml
from src.data.datasets.frame_folders import FrameFolders, Labelling, read_clips, read_video_list, video_folders
from src.data.datasets.own.held_out import held_out
from src.data.integrity.issues import DatasetIssue, IssuePolicy

log = logging.getLogger(__name__)


class FolderClips(DatasetFolder):
    """The videos of one split of the user's own dataset; further arguments and errors as of :class:`DatasetFolder`.

    Args:
        split: name of a list of videos, or ``all`` for every folder in ``frames/``; ``all``, ``train`` and ``val`` need no list.
        num_classes: expected number of classes in ``classes.yaml``; ``None``: any.
        labelling: frames that must have a mask: ``any`` (none must), ``every_frame``, or ``all_or_none`` of a video.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        num_classes: int | None = None,
        labelling: Labelling = "any",
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        issues: list[DatasetIssue] | None = None,
    ) -> None:
        if labelling not in ("any", "every_frame", "all_or_none"):
            raise ValueError(f"labelling is {labelling!r}; expected any, every_frame or all_or_none")
        self._expected_classes, self._labelling = num_classes, labelling
        super().__init__(root, split, min_clip_length, exclude, issues)

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Read the classes and find the videos; see :meth:`DatasetFolder.load_split`."""
        defined = read_classes_yaml(self.root / "classes.yaml")
        if self._expected_classes not in (None, len(defined.classes)):
            raise ValueError(
                f"{self.root / 'classes.yaml'} names {len(defined.classes)} classes but num_classes={self._expected_classes}; "
                "expected the same number: leave out data.num_classes or correct the file"
            )
        frames, masks, suffix = self.root / "frames", self.root / "masks", defined.mask_suffix
        videos = [FrameFolders(name, frames / name, masks / name, suffix) for name in self._names(policy)]
        clips = read_clips(videos, policy, self._labelling)
        if self.split in ("train", "val") and not (self.root / "val.txt").is_file():
            clips = held_out(clips, "val" if self.split == "val" else "train", f"{self.root} has no val.txt")
        return SplitContent(
            clips,
            defined.classes,
            defined.fps,
            defined.values,
            label_colors=defined.mask_colors,
            chosen_colors=defined.colors,
        )

    def _names(self, policy: IssuePolicy) -> list[str]:
        """Return the videos of the split, before some are held out."""
        frames, train, val = (self.root / name for name in ("frames", "train.txt", "val.txt"))
        path = self.root / f"{self.split}.txt"
        if self.split not in ("all", "train", "val") or (path.is_file() and self.split != "all"):
            return read_video_list(path, frames.joinpath, policy)
        if self.split == "val" and train.is_file():
            return read_video_list(train, frames.joinpath, policy)
        names = video_folders(frames, policy)
        if self.split != "train" or not val.is_file():
            return names
        validated = set(read_video_list(val, frames.joinpath, policy))
        log.info("%s has no train.txt: the videos that are not in val.txt are for training", self.root)
        return [name for name in names if name not in validated]
