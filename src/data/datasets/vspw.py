"""VSPW (Miao et al., CVPR 2021), full size or 480p, and any data in its layout on disk.

```
<root>/train.txt, val.txt, test.txt         one video name per line
<root>/label_num_dic_final.json             class name -> label value, optional
<root>/data/<video>/origin/*.jpg            frames in the order of their names; numbers need not be consecutive
<root>/data/<video>/mask/*.png              labels: 0 and 255 = ignore, 1..K = classes
```
"""

import json
from collections.abc import Sequence
from pathlib import Path

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.datasets.frame_folders import FrameFolders, read_clips, read_video_list
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.structures import IGNORE_INDEX

CLASS_FILE = "label_num_dic_final.json"
VSPW_CLASSES: tuple[str, ...] = tuple(json.loads(Path(__file__).with_name("vspw_classes.json").read_text(encoding="utf-8")))
"""The 124 classes of VSPW and VIPSeg in the order of their label values 1..124, spelt as in VIPSeg's ``CLASS_FILE``."""


class VSPW(DatasetFolder):
    """The videos of one split in VSPW's layout; further arguments and errors as of :class:`DatasetFolder`.

    Splits: ``train``, ``val`` or ``test``, the names of the lists. Only videos of ``test``, whose masks are withheld, may lack
    masks.

    Args:
        num_classes: K; 124 in VSPW.
        classes: K names; default those of ``label_num_dic_final.json``, else VSPW's own for K = 124, else ``class_0``, ...
        fps: frames per second.
        min_clip_length: minimum number of frames; 17 reproduces the VSPW evaluation scripts (VSPW_baseline).
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        num_classes: int = 124,
        classes: Sequence[str] | None = None,
        fps: float = 15.0,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        issues: list[DatasetIssue] | None = None,
    ) -> None:
        if not 1 <= num_classes <= 254:
            raise ValueError(f"num_classes={num_classes}; expected 1..254 (0 and 255 of the label PNGs mean ignore)")
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"{len(classes)} class names but num_classes={num_classes}; expected as many")
        self._label_settings = num_classes, classes, fps
        super().__init__(root, split, min_clip_length, exclude, issues)

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the listed videos; see :meth:`DatasetFolder.load_split`."""
        num_classes, classes, fps = self._label_settings
        data = self.root / "data"
        if not data.is_dir():
            raise FileNotFoundError(
                f"{self.root} holds no data/; expected {self.split}.txt and data/<video>/origin, data/<video>/mask"
            )
        names = read_video_list(self.root / f"{self.split}.txt", lambda name: data / name / "origin", policy)
        videos = [FrameFolders(name, data / name / "origin", data / name / "mask") for name in names]
        return SplitContent(
            read_clips(videos, policy, "all_or_none" if self.split == "test" else "every_frame"),
            classes if classes is not None else read_class_names(self.root / CLASS_FILE, num_classes),
            fps,
            {0: IGNORE_INDEX, 255: IGNORE_INDEX} | {k + 1: k for k in range(num_classes)},
        )


def read_class_names(path: Path, num_classes: int) -> list[str]:
    """Read the names of label values 1..K from VSPW's class file; without it, VSPW's for K = 124, else ``class_0``, ...

    Raises:
        ValueError: if the file is not as expected or leaves a class without a name.
    """
    if not path.is_file():
        return list(VSPW_CLASSES) if num_classes == len(VSPW_CLASSES) else [f"class_{k}" for k in range(num_classes)]
    try:
        names = {int(value): str(name) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected a JSON object of class name -> label value") from error
    missing = [value for value in range(1, num_classes + 1) if value not in names]
    if missing:
        raise ValueError(f"{path} names no class for label values {missing[:5]}; expected names for 1..{num_classes}")
    return [names[value] for value in range(1, num_classes + 1)]
