"""KITTI-STEP (Weber et al., 2021): every frame labelled with the classes of Cityscapes, at 10 fps.

```
<root>/images/{train,val}/<seq4>/<frame6>.png            or, as KITTI ships them, <root>/training/image_02/<seq4>/<frame6>.png
<root>/panoptic_maps/{train,val}/<seq4>/<frame6>.png     R = Cityscapes train id 0..18, 255 = void; G and B: the instance

<root>/<seq4>/image/*, <root>/<seq4>/label/*.png         read where there is no panoptic_maps/: sequences by themselves
```
"""

from __future__ import annotations

from pathlib import Path

from src.data.clips import FileClips
from src.data.datasets.cityscapes import CLASSES
from src.data.datasets.frame_folders import FrameFolders, read_clips, subfolders
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root
from src.structures import IGNORE_INDEX

VAL_SEQUENCES = ("0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018")
"""Of the 21 labelled sequences; the other twelve are for training."""
SPLITS = ("train", "val", "all")


class KittiStep(FileClips):
    """The sequences of one split.

    Args:
        root: see above.
        split: ``train``, ``val``, or ``all`` for both.
        min_clip_length: shorter sequences are left out, frames.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); what it names is not used.
        faults: where given, what is wrong is appended here instead of being an error.

    Raises:
        FileNotFoundError: if there is no sequence of the split, or a frame's label is missing; the message names it.
        ValueError: if the split is unknown or a sequence is not as expected.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        faults: list[DatasetIssue] | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown KITTI-STEP split {split!r}; expected one of {', '.join(SPLITS)}")
        self.root = dataset_root(root)
        self.split = split
        sequences = _sequences(self.root, split)
        if not sequences:
            raise FileNotFoundError(
                f"{self.root} holds no sequence of split {split!r}; expected panoptic_maps/<split>/<seq4> "
                "with images/<split>/<seq4> or training/image_02/<seq4>, or <seq4>/image with <seq4>/label"
            )
        policy = IssuePolicy(self.root, exclude, faults)
        super().__init__(
            read_clips(sequences, policy, "every_frame"),
            [c.name for c in CLASSES],
            [c.color for c in CLASSES],
            10.0,
            {k: k for k in range(len(CLASSES))} | {255: IGNORE_INDEX},
            label_channel=0,
            policy=policy,
            min_clip_length=min_clip_length,
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
    sorted_out = root / "images" / part / name
    as_shipped = root / "training" / "image_02" / name
    return as_shipped if as_shipped.is_dir() and not sorted_out.is_dir() else sorted_out
