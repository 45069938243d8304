"""Issues of a dataset on disk, and the policy of its reader: raise, collect or exclude them.

A dataset reader reports issues to an :class:`IssuePolicy`. By default the first issue is raised. ``scripts/check_data.py``
collects issues and writes an exclusion list (``src/data/integrity/exclusion.py``); a reader with that list leaves out the listed
files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.data.integrity.exclusion import Exclusion
from src.structures import Clip

IssueKind = Literal["layout", "dangling", "duplicate", "missing", "unpaired", "empty", "undecodable", "lossy", "size", "values"]
"""
layout: the split cannot be read at all. dangling, duplicate: list entries without a video, or listed before.
missing, empty (0 bytes), undecodable: files. unpaired: an image without a label, or the reverse. lossy: a label in a format that
changes its values, such as JPEG. size: an image or label of an unexpected size. values: a label with undefined values.
"""


@dataclass(frozen=True)
class DatasetIssue:
    """One issue of a dataset on disk.

    Attributes:
        kind: category of the issue.
        path: file or folder; for a list entry, the list.
        message: one line with the file, the finding and the expectation.
        entry: name of the video that is unusable as a whole; ``None`` if only the file is affected.
    """

    kind: IssueKind
    path: Path
    message: str
    entry: str | None = None

    def error(self, more: int = 0) -> Exception:
        """Return the exception for this issue and ``more`` further ones found with it."""
        text = f"{self.message} (and {more} more such issues)" if more else self.message
        return FileNotFoundError(text) if self.kind in ("dangling", "missing") else ValueError(text)


class IssuePolicy:
    """Treatment of the issues of one dataset.

    Args:
        root: folder of the dataset.
        exclude: exclusion list (JSON); listed files and videos are left out.
        issues: if given, issues are appended here and reading continues; otherwise they are raised.

    """

    def __init__(self, root: Path, exclude: str | Path | None = None, issues: list[DatasetIssue] | None = None) -> None:
        self.root = root
        self.issues = issues
        self._exclusion = Exclusion() if exclude is None else Exclusion.read(exclude)
        self._files = frozenset(root / name for name in self._exclusion.files)

    def excludes(self, path: Path) -> bool:
        """Return whether a file is on the exclusion list."""
        return path in self._files

    def excludes_video(self, name: str) -> bool:
        """Return whether a whole video is on the exclusion list."""
        return name in self._exclusion.videos

    def report(self, *issues: DatasetIssue) -> None:
        """Collect issues, except excluded ones; or raise the first as ``FileNotFoundError`` or ``ValueError``."""
        left = [issue for issue in issues if not self._is_excluded(issue)]
        if self.issues is not None:
            self.issues.extend(left)
        elif left:
            raise left[0].error(more=len(left) - 1)

    def report_missing(self, paths: Iterable[Path], owner: str) -> None:
        """Report the paths that are not files; ``owner`` names what they belong to, as in ``drive 0001TP``."""
        missing = [path for path in paths if not path.is_file()]
        self.report(*(DatasetIssue("missing", path, f"{path} does not exist; expected it for {owner}") for path in missing))

    def apply(self, clips: Sequence[Clip], min_clip_length: int) -> list[Clip]:
        """Remove excluded files and short clips.

        A frame with an excluded image is removed. A frame with only an excluded label stays, unlabelled. A clip is removed if no
        frame, or none of its labels, is left, or if it is shorter than ``min_clip_length`` frames.

        Raises:
            ValueError: if no clip is left, unless issues are collected.
        """
        kept = [clip for clip in map(self._without_excluded, clips) if clip is not None and len(clip) >= min_clip_length]
        if not kept and self.issues is None:
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

    def _is_excluded(self, issue: DatasetIssue) -> bool:
        if issue.entry is None:
            return self.excludes(issue.path)
        return issue.entry in (self._exclusion.repeated if issue.kind == "duplicate" else self._exclusion.videos)
