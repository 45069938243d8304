"""Check of a dataset on disk: decode every frame and label, and report every issue."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from src.data.integrity.exclusion import Exclusion
from src.data.integrity.issues import DatasetIssue
from src.data.integrity.process_map import map_files
from src.files.images import read_rgb
from src.files.label_png import UNDEFINED, LabelFormat
from src.structures import IGNORE_INDEX, Clip, Size


class CheckableDataset(Protocol):
    """Dataset whose frames and labels are files."""

    classes: tuple[str, ...]
    clips: list[Clip]
    label_format: LabelFormat


class FrameFiles(NamedTuple):
    """The files of one frame."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class FrameReport:
    """Size (H, W) of an image, pixels of each class of its label, if they can be read, and issues of the two files."""

    image_size: Size | None
    pixels: Mapping[int, int] | None
    issues: tuple[DatasetIssue, ...]


@dataclass
class SplitReport:
    """Counts and issues of one split.

    Attributes:
        clips, frames, labelled: numbers of videos, of their frames, and of frames with a label.
        void_only: number of labels without any class; legal, but useless for training.
        shortest, longest: frames of the shortest and of the longest clip; 0 without clips.
        sizes: "HxW" -> images.
        pixels: class name, or ``void`` -> labelled pixels.
        issues: issues of its list and files.
    """

    clips: int = 0
    frames: int = 0
    labelled: int = 0
    void_only: int = 0
    shortest: int = 0
    longest: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    issues: list[DatasetIssue] = field(default_factory=list)

    def as_json(self, root: Path) -> dict[str, Any]:
        """Return plain values; issues are counted by kind and listed, with paths relative to ``root`` where possible."""
        return {
            **{name: getattr(self, name) for name in ("clips", "frames", "labelled", "void_only", "shortest", "longest")},
            "sizes": dict(self.sizes.most_common()),
            "pixels": dict(self.pixels),
            "issues_by_kind": dict(Counter(issue.kind for issue in self.issues)),
            "issues": [
                {"kind": i.kind, "path": _relative(i.path, root), "entry": i.entry, "message": i.message} for i in self.issues
            ],
        }


def check_splits(
    datasets: Mapping[str, CheckableDataset], workers: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, SplitReport]:
    """Read all files of some splits of one dataset; files shared by splits are read once.

    Args:
        datasets: split name -> dataset; all with the same label format.
        workers: number of processes that read; 0 reads in this process.
        progress: called with (frames done, frames in total) after every frame.

    Returns:
        A report for each split, without the issues collected earlier, while its list and folders were read.
    """
    formats = [dataset.label_format for dataset in datasets.values()]
    frames = list(dict.fromkeys(frame for dataset in datasets.values() for clip in dataset.clips for frame in _frames(clip)))
    reports: dict[FrameFiles, FrameReport] = {}
    if frames:
        checked = map_files(partial(check_frame, formats[0]), frames, workers)
        for frame, report in zip(frames, checked, strict=True):
            reports[frame] = report
            if progress is not None:
                progress(len(reports), len(frames))
    return {name: _split_report(dataset, reports) for name, dataset in datasets.items()}


def check_frame(label_format: LabelFormat, frame: FrameFiles) -> FrameReport:
    """Decode the image and the label of one frame and compare their sizes."""
    issues: list[DatasetIssue] = []
    size: Size | None = None
    if issue := _file_issue(frame.image):
        issues.append(issue)
    else:
        try:
            height, width = read_rgb(frame.image).shape[-2:]
            size = height, width
        except ValueError as error:
            issues.append(DatasetIssue("undecodable", frame.image, str(error)))
    pixels = None if frame.label is None else _check_label(label_format, frame.label, frame.image, size, issues)
    return FrameReport(size, pixels, tuple(issues))


def build_exclusion(issues: Iterable[DatasetIssue], root: Path) -> Exclusion:
    """Build the exclusion list that resolves the issues of one dataset.

    Issues that no list resolves, such as a missing root, are left out.
    """
    issues = list(issues)
    videos = {issue.entry for issue in issues if issue.entry is not None and issue.kind != "duplicate"}
    repeated = {issue.entry for issue in issues if issue.entry is not None and issue.kind == "duplicate"}
    files = {_relative(issue.path, root) for issue in issues if issue.entry is None and issue.path.is_relative_to(root)}
    return Exclusion(tuple(sorted(files - {"."})), tuple(sorted(videos)), tuple(sorted(repeated)))


def _check_label(
    label_format: LabelFormat, path: Path, image: Path, image_size: Size | None, issues: list[DatasetIssue]
) -> Mapping[int, int] | None:
    """Count the pixels of each class of a readable label, and append its issues to ``issues``."""
    if issue := _file_issue(path):
        issues.append(issue)
        return None
    try:
        raw = label_format.read_raw(path)
    except ValueError as error:
        issues.append(DatasetIssue("undecodable", path, str(error)))
        return None
    size = raw.shape[0], raw.shape[1]
    if image_size is not None and size != image_size:
        message = f"{path} is {_text(size)} (HxW) but its image {image} is {_text(image_size)}"
        issues.append(DatasetIssue("size", path, message))
    classes = label_format.to_classes(raw)
    counts = dict(enumerate(np.bincount(classes.ravel()).tolist()))
    if undefined := counts.pop(UNDEFINED, 0):
        wrong = sorted(set(raw[classes == UNDEFINED].tolist()))
        found = f"{', '.join(map(str, wrong[:5]))}{', ...' if len(wrong) > 5 else ''} ({undefined} pixels)"
        issues.append(DatasetIssue("values", path, f"{path}: undefined label values {found}; expected {label_format.expected}"))
    return {k: count for k, count in counts.items() if count}


def _file_issue(path: Path) -> DatasetIssue | None:
    if not path.is_file():
        finding = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        return DatasetIssue("missing", path, f"{path} {finding}")
    if path.stat().st_size == 0:
        return DatasetIssue("empty", path, f"{path} is empty (0 bytes)")
    return None


def _split_report(dataset: CheckableDataset, reports: Mapping[FrameFiles, FrameReport]) -> SplitReport:
    lengths = [len(clip) for clip in dataset.clips]
    report = SplitReport(len(lengths), sum(lengths), shortest=min(lengths, default=0), longest=max(lengths, default=0))
    for clip in dataset.clips:
        first: tuple[Path, Size] | None = None
        for frame in _frames(clip):
            found = reports[frame]
            report.issues.extend(found.issues)
            report.labelled += frame.label is not None
            if found.image_size is not None:
                report.sizes[_text(found.image_size)] += 1
                first = first or (frame.image, found.image_size)
                if found.image_size != first[1]:
                    sizes = _text(found.image_size), _text(first[1])
                    message = f"{frame.image} is {sizes[0]} (HxW) but {first[0]} of the same clip is {sizes[1]}"
                    report.issues.append(DatasetIssue("size", frame.image, message))
            if found.pixels is not None:
                report.void_only += set(found.pixels) <= {IGNORE_INDEX}
                for k, count in found.pixels.items():
                    report.pixels["void" if k == IGNORE_INDEX else dataset.classes[k]] += count
    return report


def _frames(clip: Clip) -> Iterator[FrameFiles]:
    return map(FrameFiles, clip.images, clip.labels)


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
