"""What is on disk against what should be: every frame and label of a data set is read, and what is wrong is named."""

from __future__ import annotations

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
    """What checking needs of a dataset: files, and what the values of its labels mean."""

    classes: tuple[str, ...]
    clips: list[Clip]
    label_format: LabelFormat


class FrameFiles(NamedTuple):
    """The files of one frame."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class FrameReport:
    """What reading the files of one frame gave.

    Attributes:
        image_size: (H, W), ``None`` if the image cannot be read.
        pixels: class or ``IGNORE_INDEX`` -> pixels; ``None`` where there is no label that can be read.
        faults: what is wrong.
    """

    image_size: Size | None
    pixels: Mapping[int, int] | None
    faults: tuple[DatasetIssue, ...]


@dataclass
class SplitReport:
    """The counts of one split.

    Attributes:
        clips: number of videos.
        frames: number of frames.
        labelled: frames with a label.
        void_only: labels without any class; legal, but of no use.
        shortest: frames of the shortest clip; 0 without clips.
        longest: frames of the longest.
        sizes: "HxW" -> images.
        pixels: class name, or ``void`` -> labelled pixels.
        faults: what is wrong with its list and files.
    """

    clips: int = 0
    frames: int = 0
    labelled: int = 0
    void_only: int = 0
    shortest: int = 0
    longest: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    faults: list[DatasetIssue] = field(default_factory=list)

    def as_json(self, root: Path) -> dict[str, Any]:
        """Plain values; the faults as counts by kind and, one by one, with paths relative to ``root`` where they are below it."""
        return {
            **{name: getattr(self, name) for name in ("clips", "frames", "labelled", "void_only", "shortest", "longest")},
            "sizes": dict(self.sizes.most_common()),
            "pixels": dict(self.pixels),
            "faults_by_kind": dict(Counter(fault.kind for fault in self.faults)),
            "faults": [
                {"kind": f.kind, "path": _relative(f.path, root), "entry": f.entry, "message": f.message} for f in self.faults
            ],
        }


def check_splits(
    datasets: Mapping[str, CheckableDataset], workers: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, SplitReport]:
    """Read all files of some splits of one data set; files that splits share are read once.

    Args:
        datasets: by the names of the splits; all with the same label format.
        workers: processes that read; 0 reads in this one.
        progress: told (frames done, frames in all) after every frame.

    Returns:
        A report for each split, without the faults that were noted before, when its list and folders were read.
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
    """Decode the image and the label of one frame and compare them.

    Args:
        label_format: how the label is read.
        frame: its files.
    """
    faults: list[DatasetIssue] = []
    size: Size | None = None
    if fault := _file_fault(frame.image):
        faults.append(fault)
    else:
        try:
            height, width = read_rgb(frame.image).shape[-2:]
            size = height, width
        except ValueError as error:
            faults.append(DatasetIssue("undecodable", frame.image, str(error)))
    pixels = None if frame.label is None else _check_label(label_format, frame.label, frame.image, size, faults)
    return FrameReport(size, pixels, tuple(faults))


def exclusion_of(faults: Iterable[DatasetIssue], root: Path) -> Exclusion:
    """The list that makes a reader pass over these faults; one that no list can cure (a missing folder) is not on it.

    Args:
        faults: of one data set.
        root: its folder.
    """
    faults = list(faults)
    whole = {fault.entry for fault in faults if fault.entry is not None and fault.kind != "duplicate"}
    repeated = {fault.entry for fault in faults if fault.entry is not None and fault.kind == "duplicate"}
    files = {_relative(fault.path, root) for fault in faults if fault.entry is None and fault.path.is_relative_to(root)}
    return Exclusion(tuple(sorted(files - {"."})), tuple(sorted(whole)), tuple(sorted(repeated)))


def _check_label(
    label_format: LabelFormat, path: Path, image: Path, image_size: Size | None, faults: list[DatasetIssue]
) -> Mapping[int, int] | None:
    """Class -> pixels of a label that can be read; what is wrong is appended to ``faults``."""
    if fault := _file_fault(path):
        faults.append(fault)
        return None
    try:
        raw = label_format.read_raw(path)
    except ValueError as error:
        faults.append(DatasetIssue("undecodable", path, str(error)))
        return None
    size = raw.shape[0], raw.shape[1]
    if image_size is not None and size != image_size:
        message = f"{path} is {_text(size)} (HxW) but its image {image} is {_text(image_size)}"
        faults.append(DatasetIssue("size", path, message))
    classes = label_format.to_classes(raw)
    counts = dict(enumerate(np.bincount(classes.ravel()).tolist()))
    if undefined := counts.pop(UNDEFINED, 0):
        wrong = sorted(set(raw[classes == UNDEFINED].tolist()))
        found = f"{', '.join(map(str, wrong[:5]))}{', ...' if len(wrong) > 5 else ''} ({undefined} pixels)"
        faults.append(DatasetIssue("values", path, f"{path}: undefined label values {found}; expected {label_format.expected}"))
    return {k: count for k, count in counts.items() if count}


def _file_fault(path: Path) -> DatasetIssue | None:
    if not path.is_file():
        what = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        return DatasetIssue("missing", path, f"{path} {what}")
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
            report.faults.extend(found.faults)
            report.labelled += frame.label is not None
            if found.image_size is not None:
                report.sizes[_text(found.image_size)] += 1
                first = first or (frame.image, found.image_size)
                if found.image_size != first[1]:
                    sizes = _text(found.image_size), _text(first[1])
                    message = f"{frame.image} is {sizes[0]} (HxW) but {first[0]} of the same clip is {sizes[1]}"
                    report.faults.append(DatasetIssue("size", frame.image, message))
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
