"""Just the frames that are read, out of Cityscapes' archives: the package of sequences alone is over 300 GB."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from src.data.datasets.cityscapes import IMAGE_SUFFIX, LABEL_NAME
from src.files.atomic_write import atomic_path

_IMAGE = re.compile(rf"leftImg8bit_sequence/(?P<split>\w+)/(?P<city>[\w-]+)/[\w-]+_\d{{6}}_\d{{6}}{re.escape(IMAGE_SUFFIX)}")
_LABEL = re.compile(r"gtFine/(?P<split>\w+)/(?P<city>[\w-]+)/(?P<name>[\w-]+_gtFine_labelIds\.png)")


class Entry(NamedTuple):
    """A file in an archive.

    Attributes:
        archive: the zip file.
        name: of the file within it, and below the target folder.
        size: bytes.
    """

    archive: Path
    name: str
    size: int


@dataclass(frozen=True)
class ExtractionPlan:
    """What is to be taken out.

    Attributes:
        entries: labels and frames, in the order of the archives.
        labelled: how many labelled frames there are.
        without_image: labels whose own frame is neither in an archive nor unpacked; the reader would refuse them.
        shortened: how many labelled frames have fewer frames before them than was asked for.
        total_bytes: of all frames and labels in the archives, unpacked.
    """

    entries: tuple[Entry, ...]
    labelled: int
    without_image: tuple[str, ...]
    shortened: int
    total_bytes: int

    @property
    def wanted_bytes(self) -> int:
        """Bytes of the entries, unpacked."""
        return sum(entry.size for entry in self.entries)


def plan_extraction(
    archives: Sequence[Path], target: Path, splits: Sequence[str], key_interval: int, pair_range: int
) -> ExtractionPlan:
    """Which files training and evaluation read: each labelled frame, and those before it that may be its key frame.

    A key frame lies up to ``key_interval - 1`` frames before the labelled one in evaluation, and up to ``pair_range`` frames in
    training. Frames before the start of a recording or snippet do not exist: fewer are taken then.

    Args:
        archives: ``leftImg8bit_sequence_trainvaltest.zip`` and ``gtFine_trainvaltest.zip``, in any order.
        target: folder where ``gtFine/`` may be unpacked already; its labels count, too.
        splits: ``train``, ``val``.
        key_interval: frames, at least 1.
        pair_range: frames, at least 0.

    Raises:
        FileNotFoundError: if an archive is missing.
        ValueError: if one is no zip file or has an entry that points out of its folder, or there is no label of these splits.
    """
    if key_interval < 1 or pair_range < 0:
        raise ValueError(f"key_interval={key_interval}, pair_range={pair_range}; expected at least 1 and at least 0 frames")
    entries = {entry.name: entry for path in archives for entry in _list_archive(path)}
    unpacked = [path.relative_to(target).as_posix() for path in target.glob("gtFine/*/*/*_labelIds.png")]
    labels = {name: match for name in (*entries, *unpacked) if (match := _LABEL.fullmatch(name)) and match["split"] in splits}
    if not labels:
        raise ValueError(
            f"no gtFine labels of {', '.join(splits)} in {_names(archives)} or {target}; "
            f"expected gtFine/<split>/<city>/<city>_<seq6>_<frame6>_gtFine_labelIds.png"
        )
    before = max(key_interval - 1, pair_range)
    wanted = [name for name in labels if name in entries]
    without_image, shortened = [], 0
    for name, match in labels.items():
        frames = _frames_before(match, before)
        there = [frame for frame in frames if frame in entries or (target / frame).is_file()]
        wanted += [frame for frame in there if frame in entries]
        shortened += len(there) <= before
        if frames[-1] not in there:
            without_image.append(name)
    order = {name: number for number, name in enumerate(entries)}
    chosen = tuple(entries[name] for name in sorted(set(wanted), key=order.__getitem__))
    return ExtractionPlan(chosen, len(labels), tuple(without_image), shortened, sum(entry.size for entry in entries.values()))


def extract_entries(entries: Iterable[Entry], target: Path) -> Iterator[int]:
    """Take files out, one after another; one that is there in full is left alone.

    Args:
        entries: of a plan.
        target: folder.

    Yields:
        The bytes of each file, written or not.

    Raises:
        ValueError: if an archive is damaged; the message names the entry, and nothing is left of it.
    """
    opened: dict[Path, zipfile.ZipFile] = {}
    try:
        for entry in entries:
            path = target / entry.name
            if not is_unpacked(entry, target):
                if entry.archive not in opened:
                    opened[entry.archive] = zipfile.ZipFile(entry.archive)
                _extract(opened[entry.archive], entry, path)
            yield entry.size
    finally:
        for archive in opened.values():
            archive.close()


def is_unpacked(entry: Entry, target: Path) -> bool:
    """Whether a file is there in full."""
    path = target / entry.name
    return path.is_file() and path.stat().st_size == entry.size


def _extract(archive: zipfile.ZipFile, entry: Entry, path: Path) -> None:
    try:
        # Reading to the end checks the checksum.
        with atomic_path(path) as unfinished, archive.open(entry.name) as source, unfinished.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    # A RuntimeError is an entry with a password or a compression that is not known.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{entry.archive}: {entry.name} cannot be unpacked ({error}); expected the archive as published"
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
        # Only names of Cityscapes' own pattern would be written; an archive with such entries is not what it claims to be.
        if "\\" in info.filename or ":" in info.filename or info.filename.startswith("/") or ".." in parts:
            raise ValueError(f"{path}: entry {info.filename!r} points out of its folder; refusing the archive")
    return [Entry(path, i.filename, i.file_size) for i in infos if _IMAGE.fullmatch(i.filename) or _LABEL.fullmatch(i.filename)]


def _frames_before(label: re.Match[str], before: int) -> list[str]:
    """Names of the frames up to the labelled one, which comes last."""
    parts = LABEL_NAME.fullmatch(label["name"])
    if parts is None:
        raise ValueError(f"label {label['name']!r} has an unexpected name; expected <city>_<seq6>_<frame6>_gtFine_labelIds.png")
    number = int(parts["frame"])
    folder = f"leftImg8bit_sequence/{label['split']}/{label['city']}"
    return [
        f"{folder}/{parts['city']}_{parts['sequence']}_{n:06d}{IMAGE_SUFFIX}" for n in range(max(number - before, 0), number + 1)
    ]


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))
