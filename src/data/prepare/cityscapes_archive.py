"""Extraction of the frames used by training and evaluation from Cityscapes' archives, which exceed 300 GB."""

import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src.data.datasets.cityscapes import IMAGE_SUFFIX, LABEL_NAME
from src.files.atomic_write import atomic_path

_IMAGE = re.compile(rf"leftImg8bit_sequence/(?P<split>\w+)/(?P<city>[\w-]+)/[\w-]+_\d{{6}}_\d{{6}}{re.escape(IMAGE_SUFFIX)}")
_LABEL = re.compile(r"gtFine/(?P<split>\w+)/(?P<city>[\w-]+)/(?P<name>[\w-]+_gtFine_labelIds\.png)")


class Entry(NamedTuple):
    """A file in a zip archive: its path within the archive, which is also its path below the target folder, and its bytes."""

    archive: Path
    name: str
    size: int


@dataclass(frozen=True)
class ExtractionPlan:
    """Files to extract.

    Attributes:
        entries: labels and frames, in the order of the archives.
        labelled: number of labelled frames.
        without_image: labels whose own frame is neither in an archive nor extracted; the dataset would refuse them.
        shortened: number of labelled frames with fewer frames before or after them than requested.
        total_bytes: size of all frames and labels in the archives, uncompressed.
    """

    entries: tuple[Entry, ...]
    labelled: int
    without_image: tuple[str, ...]
    shortened: int
    total_bytes: int

    @property
    def wanted_bytes(self) -> int:
        """Size of the entries, bytes, uncompressed."""
        return sum(entry.size for entry in self.entries)


def plan_extraction(
    archives: Sequence[Path], target: Path, splits: Sequence[str], key_interval: int, pair_range: int, frames_after: int = 0
) -> ExtractionPlan:
    """Select the files read by training and evaluation: each labelled frame and the frames around it that may be its key frame.

    The key frame is up to ``key_interval - 1`` frames before the labelled one in evaluation, and up to ``pair_range`` frames in
    training. Near the start of a recording or snippet there are fewer frames.

    Args:
        archives: ``leftImg8bit_sequence_trainvaltest.zip`` and ``gtFine_trainvaltest.zip``, in any order.
        target: folder that may contain an extracted ``gtFine/``, whose labels are used as well.
        splits: splits of the labels: ``train``, ``val``.
        key_interval: key-frame interval of evaluation, frames, at least 1.
        pair_range: maximum distance of training pairs, frames, at least 0.
        frames_after: frames after the labelled one, at least 0; triplets of up to n frames read n - 1.

    Raises:
        FileNotFoundError: if an archive is missing.
        ValueError: if an archive is not a zip file or has an entry outside its folder, or there is no label of these splits.
    """
    if key_interval < 1 or min(pair_range, frames_after) < 0:
        found = f"key_interval={key_interval}, pair_range={pair_range}, frames_after={frames_after}"
        raise ValueError(f"{found}; expected at least 1, 0 and 0 frames")
    entries = {entry.name: entry for path in archives for entry in _list_archive(path)}
    extracted = [path.relative_to(target).as_posix() for path in target.glob("gtFine/*/*/*_labelIds.png")]
    labels = {name: match for name in (*entries, *extracted) if (match := _LABEL.fullmatch(name)) and match["split"] in splits}
    if not labels:
        raise ValueError(
            f"no gtFine labels of {', '.join(splits)} in {', '.join(map(str, archives))} or {target}; "
            f"expected gtFine/<split>/<city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png"
        )
    before = max(key_interval - 1, pair_range)
    wanted = [name for name in labels if name in entries]
    without_image, shortened = [], 0
    for name, match in labels.items():
        own, *frames = _frames_around(match, before, frames_after)
        existing = [frame for frame in (own, *frames) if frame in entries or (target / frame).is_file()]
        wanted += [frame for frame in existing if frame in entries]
        shortened += len(existing) <= before + frames_after
        if own not in existing:
            without_image.append(name)
    order = {name: number for number, name in enumerate(entries)}
    chosen = tuple(entries[name] for name in sorted(set(wanted), key=order.__getitem__))
    return ExtractionPlan(chosen, len(labels), tuple(without_image), shortened, sum(entry.size for entry in entries.values()))


def extract_entries(entries: Iterable[Entry], target: Path) -> Iterator[int]:
    """Extract files one after another, except complete existing ones, and yield the size of each, bytes, written or not.

    Raises:
        ValueError: if an archive is damaged; the message names the entry, which is not written.
    """
    for path, group in groupby(entries, key=lambda entry: entry.archive):
        with zipfile.ZipFile(path) as archive:
            for entry in group:
                if not is_extracted(entry, target):
                    _extract(archive, entry, target / entry.name)
                yield entry.size


def is_extracted(entry: Entry, target: Path) -> bool:
    """Return whether the complete file exists."""
    path = target / entry.name
    return path.is_file() and path.stat().st_size == entry.size


def _extract(archive: zipfile.ZipFile, entry: Entry, path: Path) -> None:
    try:
        # Reading to the end verifies the checksum.
        with atomic_path(path) as temporary, archive.open(entry.name) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    # zipfile raises RuntimeError for passwords and unknown compression methods.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{entry.archive}: {entry.name} cannot be extracted ({error}); expected the archive as published"
        ) from error


def _list_archive(path: Path) -> list[Entry]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected an archive of cityscapes-dataset.com")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a complete zip file ({error})") from error
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        # Only names of Cityscapes' pattern are extracted; other paths show that the archive is not the published one.
        if "\\" in info.filename or ":" in info.filename or info.filename.startswith("/") or ".." in parts:
            raise ValueError(f"{path}: entry {info.filename!r} is outside its folder; expected the archive as published")
    return [Entry(path, i.filename, i.file_size) for i in infos if _IMAGE.fullmatch(i.filename) or _LABEL.fullmatch(i.filename)]


def _frames_around(label: re.Match[str], before: int, after: int) -> list[str]:
    """Return the name of the labelled frame, and then those of the frames before and after it."""
    parts = LABEL_NAME.fullmatch(label["name"])
    if parts is None:
        raise ValueError(f"label {label['name']!r} has an unexpected name; expected <city>_<seq6>_<frame6>_gtFine_labelIds.png")
    number = int(parts["frame"])
    folder = f"leftImg8bit_sequence/{label['split']}/{label['city']}"
    numbers = [number, *range(max(number - before, 0), number), *range(number + 1, number + after + 1)]
    return [f"{folder}/{parts['city']}_{parts['sequence']}_{n:06d}{IMAGE_SUFFIX}" for n in numbers]
