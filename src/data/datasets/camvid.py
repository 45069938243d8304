"""CamVid (Brostow et al., 2008/2009) at 480x360 with 11 classes, in our split, ``camvid-drive``.

Training uses three drives, as single labelled stills one second apart; evaluation uses one dense clip of a fourth drive, of 51
frames at 15 Hz.

```
<root>/index.csv      columns sequence (the drive), frame (at 30 Hz), image, label (paths below the root); others are ignored
<root>/classes.txt    "0 sky" ... "11 void(ignore)", one per line
```
"""

import csv
from io import StringIO
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder, check_split
from src.data.integrity.issues import IssuePolicy
from src.files.text import read_text
from src.structures import IGNORE_INDEX, Clip

TRAIN_DRIVES = ("0001TP", "0006R0", "Seq05VD")
DENSE_DRIVE, DENSE_FRAMES = "0016E5", (7959, 8059)
SPLITS = ("train", "train_part", "val_part", "test")
NUM_CLASSES = 11
_COLUMNS = ("sequence", "frame", "image", "label")


class CamVid(DatasetFolder):
    """One split of CamVid, in ``<root>/index.csv``; arguments as of :class:`DatasetFolder`.

    Splits: ``train``: all stills of the three training drives, one clip per drive (1 fps: too sparse to pair frames, so sample
    single frames); ``train_part`` and ``val_part``: the first nine and the last tenth of each of these drives; ``test``: the
    dense clip (15 fps).
    """

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Read the index; see :meth:`DatasetFolder.load_split`."""
        check_split("CamVid", self.split, SPLITS)
        rows = _read_index(self.root)
        self.part_of = "train" if self.split == "val_part" else None
        drives = (DENSE_DRIVE,) if self.split == "test" else TRAIN_DRIVES
        by_drive = {drive: [row for row in rows if row.drive == drive] for drive in drives}
        return SplitContent(
            [_clip(drive, _select(rows, self.split), self.root, self.split, policy) for drive, rows in by_drive.items()],
            _read_classes(self.root / "classes.txt"),
            15.0 if self.split == "test" else 1.0,
            {k: k for k in range(NUM_CLASSES)} | {NUM_CLASSES: IGNORE_INDEX},
        )


class _Row(NamedTuple):
    drive: str
    frame: int
    image: Path
    label: Path


def _read_index(root: Path) -> list[_Row]:
    path = root / "index.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected CamVid's index.csv, classes.txt and <drive>/image, <drive>/label"
        )
    reader = csv.DictReader(StringIO(read_text(path), newline=""))
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; expected {', '.join(_COLUMNS)}")
    rows = [_read_row(path, reader.line_num, record) for record in reader]
    return sorted(rows, key=lambda row: (row.drive, row.frame))


def _read_row(index: Path, line: int, record: dict[str, str | None]) -> _Row:
    drive, frame, image, label = (record[column] or "" for column in _COLUMNS)
    if not frame.isdecimal():
        raise ValueError(f"{index}, line {line}: frame {frame!r} is not a number; expected an integer")
    for name in (image, label):
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{index}, line {line}: path is {name!r}; expected a relative path inside {index.parent}")
    return _Row(drive, int(frame), index.parent / image, index.parent / label)


def _select(rows: list[_Row], split: str) -> list[_Row]:
    if split == "test":
        first, last = DENSE_FRAMES
        return [row for row in rows if first <= row.frame <= last]
    cut = len(rows) * 9 // 10
    return {"train": rows, "train_part": rows[:cut], "val_part": rows[cut:]}[split]


def _clip(drive: str, rows: list[_Row], root: Path, split: str, policy: IssuePolicy) -> Clip:
    if not rows:
        raise ValueError(f"{root / 'index.csv'} lists no frame of drive {drive} for split {split}")
    for frame, group in groupby(rows, key=lambda row: row.frame):
        if len(list(group)) > 1:
            raise ValueError(f"{root / 'index.csv'} lists frame {frame} of drive {drive} twice")
    policy.report_missing((path for row in rows for path in (row.image, row.label)), f"drive {drive}")
    return Clip(drive, tuple(row.image for row in rows), tuple(row.label for row in rows))


def _read_classes(path: Path) -> list[str]:
    """Read the names of classes 0..10; the list ends with 11, void."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected the class names, '0 sky' to '11 void(ignore)', one per line")
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) != NUM_CLASSES + 1:
        raise ValueError(f"{path} has {len(lines)} entries; expected '<number> <name>' for the numbers 0..{NUM_CLASSES} in order")
    for k, line in enumerate(lines):
        if len(parts := line.split(maxsplit=1)) != 2 or parts[0] != str(k):
            raise ValueError(f"{path}: entry {k + 1} is {line!r}; expected '{k} <name>'")
    return [line.split(maxsplit=1)[1] for line in lines[:-1]]
