"""Check of a dataset on disk: decode every frame and label, and report every issue."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from src.data.integrity.exclusion import Exclusion
from src.data.integrity.frame import FrameFiles, FrameReport, check_frame, text
from src.data.integrity.issues import DatasetIssue
from src.data.integrity.process_map import map_files
from src.data.integrity.suspicions import Suspicion, label_suspicions, leaks
from src.files.images.label_png import LabelFormat
from src.structures import IGNORE_INDEX, Clip, Size

VOID = "void"
"""Name of ``IGNORE_INDEX`` in reports."""


class CheckableDataset(Protocol):
    """Dataset whose frames and labels are files."""

    classes: tuple[str, ...]
    chosen_colors: tuple[tuple[int, int, int] | None, ...]
    clips: list[Clip]
    label_format: LabelFormat
    part_of: str | None


@dataclass
class SplitReport:
    """Counts, issues and suspicions of one split.

    Attributes:
        clips, frames, labelled: numbers of videos, of their frames, and of frames with a label.
        void_only: number of labels without any class; legal, but useless for training.
        shortest, longest: frames of the shortest and of the longest clip; 0 without clips.
        sizes: "HxW" -> images.
        pixels, frame_counts: class name, or ``void`` -> labelled pixels, and frames in which it occurs.
        classes: class names.
        issues: issues of its list and files.
        suspicions: findings that are no issues.
    """

    clips: int = 0
    frames: int = 0
    labelled: int = 0
    void_only: int = 0
    shortest: int = 0
    longest: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    frame_counts: Counter[str] = field(default_factory=Counter)
    classes: tuple[str, ...] = ()
    issues: list[DatasetIssue] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)

    @property
    def absent_classes(self) -> list[str]:
        """Classes that occur in no label; none without labels."""
        return [name for name in self.classes if not self.pixels[name]] if self.pixels else []

    def share(self, name: str) -> float:
        """Return the share of a class, or of ``void``, in the labelled pixels, 0..1."""
        return self.pixels[name] / max(1, self.pixels.total())

    def as_json(self, root: Path) -> dict[str, Any]:
        """Return plain values; issues are counted by kind and listed, with paths relative to ``root`` where possible."""
        return {
            **{name: getattr(self, name) for name in ("clips", "frames", "labelled", "void_only", "shortest", "longest")},
            "sizes": dict(self.sizes.most_common()),
            "pixels": dict(self.pixels),
            "classes": {
                name: {"pixels": self.pixels[name], "share": self.share(name), "frames": self.frame_counts[name]}
                for name in (*self.classes, VOID)
            },
            "absent_classes": self.absent_classes,
            "suspicions": [asdict(one) for one in self.suspicions],
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
    found = {name: _split_report(dataset, reports) for name, dataset in datasets.items()}
    for name, dataset in datasets.items():
        clips = [[(frame, reports[frame]) for frame in _frames(clip)] for clip in dataset.clips]
        found[name].suspicions += label_suspicions(clips, dataset.classes, dataset.label_format.values)
        if "train" in name.split("/") and found[name].frames and not found[name].labelled:
            found[name].suspicions.append(Suspicion("unlabelled", f"none of {found[name].frames} training frames has a label"))
    by_split = {n: [(f, reports[f]) for clip in dataset.clips for f in _frames(clip)] for n, dataset in datasets.items()}
    for name, suspicions in leaks(by_split, {name: dataset.part_of for name, dataset in datasets.items()}).items():
        found[name].suspicions += suspicions
    return found


def build_exclusion(issues: Iterable[DatasetIssue], root: Path) -> Exclusion:
    """Build the exclusion list that resolves the issues of one dataset.

    Issues that no list resolves, such as a missing root, are left out.
    """
    issues = list(issues)
    videos = {issue.entry for issue in issues if issue.entry is not None and issue.kind != "duplicate"}
    repeated = {issue.entry for issue in issues if issue.entry is not None and issue.kind == "duplicate"}
    files = {_relative(issue.path, root) for issue in issues if issue.entry is None and issue.path.is_relative_to(root)}
    return Exclusion(tuple(sorted(files - {"."})), tuple(sorted(videos)), tuple(sorted(repeated)))


def _split_report(dataset: CheckableDataset, reports: Mapping[FrameFiles, FrameReport]) -> SplitReport:
    lengths = [len(clip) for clip in dataset.clips]
    report = SplitReport(len(lengths), sum(lengths), shortest=min(lengths, default=0), longest=max(lengths, default=0))
    report.classes = tuple(dataset.classes)
    for clip in dataset.clips:
        first: tuple[Path, Size] | None = None
        for frame in _frames(clip):
            found = reports[frame]
            report.issues.extend(found.issues)
            report.labelled += frame.label is not None
            if found.image_size is not None:
                report.sizes[text(found.image_size)] += 1
                first = first or (frame.image, found.image_size)
                if found.image_size != first[1]:
                    sizes = text(found.image_size), text(first[1])
                    message = f"{frame.image} is {sizes[0]} (HxW) but {first[0]} of the same clip is {sizes[1]}"
                    report.issues.append(DatasetIssue("size", frame.image, message))
            if found.pixels is not None:
                report.void_only += set(found.pixels) <= {IGNORE_INDEX}
                for k, count in found.pixels.items():
                    named = VOID if k == IGNORE_INDEX else dataset.classes[k]
                    report.pixels[named] += count
                    report.frame_counts[named] += 1
    return report


def _frames(clip: Clip) -> Iterator[FrameFiles]:
    return map(FrameFiles, clip.images, clip.labels)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
