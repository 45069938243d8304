"""KITTI-STEP (Weber et al., 2021): videos at 10 fps, every frame labelled with Cityscapes' classes.

```
<root>/images/{train,val}/<seq4>/<frame6>.png            or, as published by KITTI, <root>/training/image_02/<seq4>/<frame6>.png
<root>/panoptic_maps/{train,val}/<seq4>/<frame6>.png     R = Cityscapes train id 0..18, 255 = void; G and B: the instance

<root>/<seq4>/image/*, <root>/<seq4>/label/*.png         single sequences, read if there is no panoptic_maps/
```
"""

from pathlib import Path

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder, check_split
from src.data.datasets.cityscapes import CLASSES
from src.data.datasets.frame_folders import FrameFolders, read_clips, subfolders
from src.data.integrity.issues import IssuePolicy
from src.structures import IGNORE_INDEX

VAL_SEQUENCES = ("0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018")
"""Validation sequences among the 21 labelled ones; the other twelve are for training."""
SPLITS = ("train", "val", "all")


class KittiStep(DatasetFolder):
    """One split of KITTI-STEP; arguments as of :class:`DatasetFolder`.

    Splits: ``train``, ``val``, or ``all`` for both.
    """

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the sequences; see :meth:`DatasetFolder.load_split`."""
        check_split("KITTI-STEP", self.split, SPLITS)
        sequences = _sequences(self.root, self.split)
        if not sequences:
            raise FileNotFoundError(
                f"{self.root} holds no sequence of split {self.split!r}; expected panoptic_maps/<split>/<seq4> "
                "with images/<split>/<seq4> or training/image_02/<seq4>, or <seq4>/image with <seq4>/label"
            )
        return SplitContent(
            read_clips(sequences, policy, "every_frame"),
            [c.name for c in CLASSES],
            10.0,
            {k: k for k in range(len(CLASSES))} | {255: IGNORE_INDEX},
            label_channel=0,
        )


def _sequences(root: Path, split: str) -> list[FrameFolders]:
    splits = ("train", "val") if split == "all" else (split,)
    maps = root / "panoptic_maps"
    if maps.is_dir():
        found = [(part, name) for part in splits for name in subfolders(maps / part)]
        return [FrameFolders(name, _image_folder(root, part, name), maps / part / name) for part, name in found]
    names = [name for name in subfolders(root) if (root / name / "image").is_dir()]
    wanted = [name for name in names if ("val" if name in VAL_SEQUENCES else "train") in splits]
    return [FrameFolders(name, root / name / "image", root / name / "label") for name in wanted]


def _image_folder(root: Path, part: str, name: str) -> Path:
    by_split = root / "images" / part / name
    published = root / "training" / "image_02" / name
    return published if published.is_dir() and not by_split.is_dir() else by_split
