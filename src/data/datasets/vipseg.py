"""VIPSeg (Miao et al., CVPR 2022) as semantic segmentation: panoptic masks of VSPW's videos at 5 fps, with VSPW's classes.

```
<root>/train.txt, val.txt, test.txt         one video name per line
<root>/label_num_dic_final.json             class name -> category 1..124, optional
<root>/imgs/<video>/*.jpg                   frames; ``images`` in the 720p variant
<root>/panomasks/<video>/*.png              16 bit: 0 = void, 1..124 = category, category * 100 + number = one instance of it
```
"""

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.datasets.frame_folders import FrameFolders, read_clips, read_video_list
from src.data.datasets.vspw import CLASS_FILE, VSPW_CLASSES, read_class_names
from src.data.integrity.issues import IssuePolicy
from src.structures import IGNORE_INDEX

_IMAGE_FOLDERS = ("imgs", "images")
_CATEGORIES = range(1, len(VSPW_CLASSES) + 1)


class VIPSeg(DatasetFolder):
    """The videos of one split; arguments as of :class:`DatasetFolder`.

    Splits: ``train``, ``val`` or ``test``, the names of the lists. Only videos of ``test``, whose masks are withheld, may lack
    masks.
    """

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the listed videos; see :meth:`DatasetFolder.load_split`."""
        images = next((self.root / name for name in _IMAGE_FOLDERS if (self.root / name).is_dir()), None)
        if images is None:
            raise FileNotFoundError(f"{self.root} holds no imgs/; expected {self.split}.txt, imgs/<video> and panomasks/<video>")
        videos = [
            FrameFolders(name, images / name, self.root / "panomasks" / name)
            for name in read_video_list(self.root / f"{self.split}.txt", images.joinpath, policy)
        ]
        return SplitContent(
            read_clips(videos, policy, "all_or_none" if self.split == "test" else "every_frame"),
            read_class_names(self.root / CLASS_FILE, len(VSPW_CLASSES)),
            5.0,
            panoptic_values(),
        )


def panoptic_values() -> dict[int, int]:
    """Map panoptic mask values to classes: void is ignored, and all instances of a category share its class.

    Source: the README of github.com/VIPSeg-Dataset/VIPSeg-Dataset; a value above 124 belongs to category ``value // 100``.
    """
    values = {100 * category + number: category - 1 for category in _CATEGORIES for number in range(100)}
    # Values 100..124 are categories, not instances 0..24 of the first category, which is stuff and has no instances.
    return values | {category: category - 1 for category in _CATEGORIES} | {0: IGNORE_INDEX}
