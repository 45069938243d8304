"""What can be wrong with a data set on disk, and what its reader does about it: refuse it, note it, or pass it over.

A reader reports what it finds to a :class:`IssuePolicy`. By default the first fault is an error. A checker asks for the faults to
be noted instead, and writes an exclusion list (``src/data/integrity/exclusion.py``); a reader that is given the list passes over
what it
names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.data.integrity.exclusion import Exclusion
from src.structures import Clip

IssueKind = Literal["layout", "dangling", "duplicate", "missing", "unpaired", "empty", "undecodable", "size", "values"]
"""
layout: the folder cannot be read at all. dangling, duplicate: entries of a list that name nothing, or the same twice.
missing, empty (0 bytes), undecodable: files. unpaired: an image without a label, or the reverse. size: an image or label of
another size than it should have. values: a label with undefined values.
"""


@dataclass(frozen=True)
class DatasetIssue:
    """One thing that is wrong.

    Attributes:
        kind: what sort of fault.
        path: the file or folder; of an entry, the list that it stands in.
        message: one line for people: the file, what was found, what was expected.
        entry: name of the video that the fault makes unusable as a whole; ``None`` where it is about the one file.
    """

    kind: IssueKind
    path: Path
    message: str
    entry: str | None = None

    def error(self, more: int = 0) -> Exception:
        """The exception that says so.

        Args:
            more: number of further faults that were found with it.
        """
        text = f"{self.message} (and {more} more such faults)" if more else self.message
        return FileNotFoundError(text) if self.kind in ("dangling", "missing") else ValueError(text)


class IssuePolicy:
    """What happens to the faults of one data set.

    Args:
        root: its folder.
        exclude: an exclusion list (JSON); what it names is passed over.
        noted: where given, faults are appended here and reading goes on; otherwise they are raised.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it is not an exclusion list.
    """

    def __init__(self, root: Path, exclude: str | Path | None = None, noted: list[DatasetIssue] | None = None) -> None:
        self.root = root
        self.noted = noted
        self._exclusion = Exclusion() if exclude is None else Exclusion.read(exclude)
        self._files = frozenset(root / name for name in self._exclusion.files)

    def excludes(self, path: Path) -> bool:
        """Whether a file is to be passed over."""
        return path in self._files

    def excludes_video(self, name: str) -> bool:
        """Whether a whole video is to be passed over."""
        return name in self._exclusion.videos

    def excludes_repeats(self, name: str) -> bool:
        """Whether entries after the first of the same name are to be passed over."""
        return name in self._exclusion.repeated

    def report(self, *faults: DatasetIssue) -> None:
        """Take what a reader found.

        Raises:
            FileNotFoundError, ValueError: the first fault that is not excluded, unless faults are noted.
        """
        left = [fault for fault in faults if not self._covers(fault)]
        if self.noted is not None:
            self.noted.extend(left)
        elif left:
            raise left[0].error(more=len(left) - 1)

    def apply(self, clips: Sequence[Clip], min_clip_length: int) -> list[Clip]:
        """Clips without what is excluded and without the short ones.

        A frame whose image is excluded is taken out, as if it had not been recorded; one whose label alone is excluded stays,
        unlabelled. A clip goes when no frame is left, or none of its labels.

        Args:
            clips: as on disk.
            min_clip_length: frames.

        Raises:
            ValueError: if nothing is left of them, unless faults are noted.
        """
        kept = [clip for clip in map(self._without_excluded, clips) if clip is not None and len(clip) >= min_clip_length]
        if not kept and self.noted is None:
            raise ValueError(
                f"{self.root}: none of {len(clips)} clips is left with min_clip_length={min_clip_length} and the exclusion list"
            )
        return kept

    def _without_excluded(self, clip: Clip) -> Clip | None:
        if not self._files:
            return clip
        frames = [
            (image, None if label is None or self.excludes(label) else label)
            for image, label in zip(clip.images, clip.labels, strict=True)
            if not self.excludes(image)
        ]
        if not frames or (clip.labelled_frames and all(label is None for _, label in frames)):
            return None
        return Clip(clip.name, tuple(image for image, _ in frames), tuple(label for _, label in frames))

    def _covers(self, fault: DatasetIssue) -> bool:
        if fault.entry is None:
            return self.excludes(fault.path)
        return self.excludes_repeats(fault.entry) if fault.kind == "duplicate" else self.excludes_video(fault.entry)
