"""Suspicions about a dataset whose files are sound: shifted class numbers, mostly void, copied or interpolated labels, leaks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from src.data.integrity.frame import FrameFiles, FrameReport
from src.structures import IGNORE_INDEX

SuspicionKind = Literal["off_by_one", "void", "one_class", "identical", "interpolated", "unlabelled", "leak"]
"""See the table in ``docs/datasets.md``."""

_MOSTLY_VOID = 0.9  # share of the labelled pixels
_MUCH_VOID = 0.2
_MIN_COPIES = 3  # labels of a clip


@dataclass(frozen=True)
class Suspicion:
    """A finding that may be intended: category, and one line with the finding and its likely cause."""

    kind: SuspicionKind
    message: str


def label_suspicions(
    clips: Sequence[Sequence[tuple[FrameFiles, FrameReport]]], classes: Sequence[str], values: Mapping[int, int]
) -> list[Suspicion]:
    """Judge the labels of one split.

    Args:
        clips: frames of every clip, with their reports.
        classes: K class names.
        values: raw label value -> class or ``IGNORE_INDEX``.
    """
    labelled = [[(files, one) for files, one in clip if one.pixels is not None] for clip in clips]
    pixels = sum((Counter(one.pixels) for clip in labelled for _, one in clip), Counter[int]())
    void = pixels.pop(IGNORE_INDEX, 0)
    void_share = void / max(1, void + pixels.total())
    undefined = {value for clip in labelled for _, one in clip for value in one.undefined}
    found: list[Suspicion] = []
    if message := _shift_message(set(pixels), undefined, classes, values, void_share):
        found.append(Suspicion("off_by_one", message))
    if void_share > _MOSTLY_VOID:
        found.append(Suspicion("void", f"{100 * void_share:.1f} % of the labelled pixels are void; expected less than 90 %"))
    if len(pixels) == 1 and len(classes) > 1:
        (only,) = pixels
        ignored = ", ".join(str(value) for value in sorted(values) if values[value] == IGNORE_INDEX)
        cause = f" or void; an ignored value ({ignored}) may be meant as a class" if void else ""
        found.append(Suspicion("one_class", f"every labelled pixel is {classes[only]!r}{cause}"))
    found += _identical(labelled)
    blended = [files.label for clip in labelled for files, one in clip if one.interpolated]
    if blended:
        total = sum(map(len, labelled))
        message = f"{len(blended)} of {total} labels have values between those of their neighbours at borders, first {blended[0]}"
        found.append(
            Suspicion("interpolated", f"{message}: the labels may be resized smoothly, anti-aliased, or saved as JPEG before")
        )
    return found


def leaks(
    splits: Mapping[str, Sequence[tuple[FrameFiles, FrameReport]]], part_of: Mapping[str, str | None]
) -> dict[str, list[Suspicion]]:
    """Find the frames of each split that an earlier split contains too, as the same file or with the same pixels.

    Args:
        splits: frames of every split, with their reports; splits with the same settings share a name, as in ``val/test``.
        part_of: split -> split that contains its frames by design.
    """
    owner: dict[object, tuple[str, FrameFiles]] = {}
    found: dict[str, list[Suspicion]] = {name: [] for name in splits}
    for name, frames in splits.items():
        own = {files.image: one.image_hash or files.image for files, one in frames}
        shared: dict[str, list[str]] = {}
        for image, key in own.items():
            if earlier := owner.get(image) or owner.get(key):
                same = "the same file" if earlier[1].image == image else f"the pixels of {earlier[1].image}"
                shared.setdefault(earlier[0], []).append(f"{image} ({same})")
        for other, named in shared.items():
            if part_of[name] in other.split("/"):
                continue
            message = f"{len(named)} of {len(own)} frames are also in {other}, first {named[0]}"
            found[name].append(Suspicion("leak", f"{message}: scores would be measured on known frames"))
        if "train" in name.split("/") and "/" in name:
            found[name].append(Suspicion("leak", f"{name} are the same frames: scores would be measured on training frames"))
        for files, one in frames:
            owner.setdefault(files.image, (name, files))
            if one.image_hash is not None:
                owner.setdefault(one.image_hash, (name, files))
    return found


def _shift_message(
    present: set[int], undefined: set[int], classes: Sequence[str], values: Mapping[int, int], void_share: float
) -> str | None:
    """Describe the signs of class numbers that are one too high or too low; ``None`` without signs."""
    own = {value: k for value, k in values.items() if k != IGNORE_INDEX}
    order = list(dict.fromkeys(own[value] for value in sorted(own)))
    if len(order) < 2 or not present:
        return None
    lowest, above = min(own), max(own) + 1
    ranks = sorted(order.index(k) for k in present)
    most = 2 * len(ranks) >= len(order) - 1
    first, last = (f"class {classes[order[n]]!r} (value {value})" for n, value in ((0, lowest), (-1, above - 1)))
    if ranks[0] > 0:
        consecutive = len(ranks) > 1 and ranks == list(range(1, len(ranks) + 1))
        if above in undefined or most or consecutive or classes[order[0]] == "background":
            also = f", and so does the undefined value {above}" if above in undefined else ""
            return f"{first} never occurs, but {len(ranks)} later classes do{also}: label values may be one too high"
    elif undefined == {above}:
        return f"value {above}, one above the last class, occurs: labels may count from 1, with 0 for void"
    elif ranks == list(range(len(order) - 1)) and void_share > _MUCH_VOID and values.get((lowest - 1) % 256) == IGNORE_INDEX:
        return f"{last} never occurs, and {100 * void_share:.1f} % of the pixels are void: label values may be one too low"
    return None


def _identical(labelled: Sequence[Sequence[tuple[FrameFiles, FrameReport]]]) -> list[Suspicion]:
    """Find labels with several values that are repeated over different images, in the split or in its clips."""
    every = [pair for clip in labelled for pair in clip]
    if len(every) >= _MIN_COPIES and _repeats(every):
        return [Suspicion("identical", f"all {len(every)} labels are identical, first {every[0][0].label}")]
    copied = [clip[0][0].label for clip in labelled if len(clip) >= _MIN_COPIES and _repeats(clip)]
    if not copied:
        return []
    return [Suspicion("identical", f"{len(copied)} clips repeat one label in every frame, first {copied[0]}")]


def _repeats(frames: Sequence[tuple[FrameFiles, FrameReport]]) -> bool:
    reports = [one for _, one in frames]
    copies = len({one.label_hash for one in reports}) == 1 and len(reports[0].pixels or ()) > 1
    return copies and len({one.image_hash for one in reports}) > 1
