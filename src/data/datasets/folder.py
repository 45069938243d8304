"""Own data: folders of frames and masks, and a page that names the classes. ``docs/datasets.md`` explains it step by step.

```
<root>/classes.yaml                names, mask values and colors of the classes; see src/data/datasets/classes_yaml.py
<root>/frames/<video>/*.jpg|png    frames, in the order of their names
<root>/masks/<video>/*.png         masks of some or all frames, named like them: 8 or 16 bit grey, or palette indices
<root>/<split>.txt                 optional: the videos of a split, one name a line
```
"""

from __future__ import annotations

from pathlib import Path

from src.data.clips import FileClips
from src.data.datasets.classes_yaml import read_classes_yaml
from src.data.datasets.frame_folders import FrameFolders, Labelling, read_clips, read_video_list, subfolders
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root


class FolderClips(FileClips):
    """The videos of one split of an own data set.

    Args:
        root: the folder that holds ``classes.yaml`` and ``frames/``.
        split: name of a list of videos, or ``all`` for every folder in ``frames/``; there need be no list then.
        num_classes: what the caller expects ``classes.yaml`` to have; ``None``: anything.
        labelling: which frames must have a mask: ``any`` (whichever have one), ``every_frame``, or ``all_or_none`` of a video.
        min_clip_length: shorter videos are left out, frames.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); what it names is not used.
        faults: where given, what is wrong is appended here instead of being an error.

    Raises:
        FileNotFoundError: if the root, the list, a listed video or a needed mask is missing; the message names it.
        ValueError: if ``classes.yaml``, a list or a video's content is not as expected.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        num_classes: int | None = None,
        labelling: Labelling = "any",
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        faults: list[DatasetIssue] | None = None,
    ) -> None:
        self.root = dataset_root(root)
        self.split = split
        if labelling not in ("any", "every_frame", "all_or_none"):
            raise ValueError(f"labelling is {labelling!r}; expected any, every_frame or all_or_none")
        page = read_classes_yaml(self.root / "classes.yaml")
        if num_classes not in (None, len(page.classes)):
            raise ValueError(
                f"{self.root / 'classes.yaml'} names {len(page.classes)} classes but num_classes={num_classes}; expected as many"
            )
        frames = self.root / "frames"
        policy = IssuePolicy(self.root, exclude, faults)
        names = subfolders(frames) if split == "all" else read_video_list(frames.parent / f"{split}.txt", frames.joinpath, policy)
        if not names and faults is None:
            raise FileNotFoundError(f"{frames} holds no videos; expected a folder of frames for each")
        super().__init__(
            read_clips([FrameFolders(name, frames / name, self.root / "masks" / name) for name in names], policy, labelling),
            page.classes,
            page.palette,
            page.fps,
            page.values,
            policy=policy,
            min_clip_length=min_clip_length,
        )
