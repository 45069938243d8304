"""VIPSeg (Miao et al., CVPR 2022) as semantic segmentation: panoptic masks of VSPW's videos at 5 fps, with VSPW's classes.

```
<root>/train.txt, val.txt, test.txt         one video name a line
<root>/label_num_dic_final.json             class name -> category 1..124, optional
<root>/imgs/<video>/*.jpg                   frames; ``images`` in the 720p variant
<root>/panomasks/<video>/*.png              16 bit: 0 = void, 1..124 = category, category * 100 + number = one thing of it
```
"""

from __future__ import annotations

from pathlib import Path

from src.data.clips import FileClips
from src.data.datasets.frame_folders import FrameFolders, read_clips, read_video_list
from src.data.datasets.palette import distinct_palette
from src.data.datasets.vspw import CLASS_FILE, read_class_names
from src.data.datasets.vspw_classes import VSPW_CLASSES
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root
from src.structures import IGNORE_INDEX

_IMAGE_FOLDERS = ("imgs", "images")
_CATEGORIES = range(1, len(VSPW_CLASSES) + 1)


class VIPSeg(FileClips):
    """The videos of one split.

    Args:
        root: the folder that holds ``imgs/`` (or ``images/``), ``panomasks/`` and the split lists.
        split: name of a list: ``train``, ``val`` or ``test``. Only the ``test`` split, whose masks
            are withheld, may lack them.
        min_clip_length: shorter videos are left out, frames.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); what it names is not used.
        faults: where given, what is wrong is appended here instead of being an error.

    Raises:
        FileNotFoundError: if the root, the list, a listed video or a frame's mask is missing; the message names it.
        ValueError: if a list, the class file or a video's content is not as expected.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        faults: list[DatasetIssue] | None = None,
    ) -> None:
        self.root = dataset_root(root)
        self.split = split
        images = next((self.root / name for name in _IMAGE_FOLDERS if (self.root / name).is_dir()), None)
        if images is None:
            raise FileNotFoundError(f"{self.root} holds no imgs/; expected {split}.txt, imgs/<video> and panomasks/<video>")
        policy = IssuePolicy(self.root, exclude, faults)
        names = read_video_list(self.root / f"{split}.txt", lambda name: images / name, policy)
        videos = [FrameFolders(name, images / name, self.root / "panomasks" / name) for name in names]
        super().__init__(
            read_clips(videos, policy, "all_or_none" if split == "test" else "every_frame"),
            read_class_names(self.root / CLASS_FILE, len(VSPW_CLASSES)),
            distinct_palette(len(VSPW_CLASSES)),
            5.0,
            panoptic_values(),
            policy=policy,
            min_clip_length=min_clip_length,
        )


def panoptic_values() -> dict[int, int]:
    """Mask value -> class: void is ignored, and the things of a category share its class.

    Source: the README of github.com/VIPSeg-Dataset/VIPSeg-Dataset; a value above 124 belongs to category ``value // 100``.
    """
    values = {100 * category + number: category - 1 for category in _CATEGORIES for number in range(100)}
    # Categories 100..124 share their values with things 0..24 of the first one, which is stuff and has none.
    return values | {category: category - 1 for category in _CATEGORIES} | {0: IGNORE_INDEX}
