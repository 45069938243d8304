"""Writer of shards from the folder of any data set; see :mod:`src.data.shards.reader`."""

import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from src.data.shards.index import Member, ShardFile, ShardIndex
from src.data.shards.reader import INDEX, Shards
from src.files.atomic_write import atomic_path, write_text
from src.files.images.readers import natural_key

_BLOCK = tarfile.BLOCKSIZE
# Shards and the index, whole or left unfinished by a killed process.
_OWN_NAMES = re.compile(r"shard_\d{6}\.tar|\.shard\w*\.\w+\.partial\.(tar|json)")


class SourceFile(NamedTuple):
    """File to put into a shard: name relative to the root with forward slashes, bytes, and seconds of the last change."""

    name: str
    size: int
    time: int


def find_files(source: Path, leave_out: Sequence[str] = ()) -> list[SourceFile]:
    """List the files below a folder in natural order of their names, without hidden ones; links are followed.

    Relative paths that match a shell pattern in ``leave_out`` (``*`` matches slashes, too) are left out.

    Raises:
        FileNotFoundError: if the folder is missing or empty.
        ValueError: if a link leads back to a folder that contains it, or a name is not UTF-8.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"{source} does not exist; expected the folder of a data set")
    files: list[SourceFile] = []
    real_paths: dict[str, tuple[str, ...]] = {}
    for folder, subfolders, names in os.walk(source, followlinks=True):
        above, real = real_paths.get(os.path.dirname(folder), ()), os.path.realpath(folder)
        if real in above:
            raise ValueError(f"{folder} is a link to a folder that contains it")
        real_paths[folder] = (*above, real)
        subfolders[:] = _visible(subfolders)
        for path in (Path(folder) / name for name in _visible(names)):
            relative = path.relative_to(source).as_posix()
            if any(fnmatchcase(relative, pattern) for pattern in leave_out):
                continue
            if not relative.isprintable():
                raise ValueError(f"name of {str(path)!r} is not printable text")
            status = path.stat()
            files.append(SourceFile(relative, status.st_size, int(status.st_mtime)))
    if not files:
        raise FileNotFoundError(f"{source} contains no files")
    return files


def plan_shards(files: Sequence[SourceFile], shard_bytes: int) -> list[list[SourceFile]]:
    """Divide files among tar files of up to ``shard_bytes`` (without padding) in their order; a larger file has its own."""
    if shard_bytes < 1:
        raise ValueError(f"shard size is {shard_bytes} bytes; expected at least 1")
    shards: list[list[SourceFile]] = []
    room = 0
    for file in files:
        size = len(_header(file).tobuf(tarfile.PAX_FORMAT)) + -(-file.size // _BLOCK) * _BLOCK
        if size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(file)
        room -= size
    return shards


def write_shards(source: Path, target: Path, shards: Sequence[Sequence[SourceFile]]) -> Iterator[bool]:
    """Write the shards, each completely or not at all, then the index.

    Shards of an earlier run are kept if their files have the names, sizes and times of the source's.

    Yields:
        For each finished shard, true if an earlier run had written it.

    Raises:
        FileExistsError: if the target contains an index or other files.
        ValueError: if one folder contains the other, or a file has changed since the plan was made.
    """
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"one of {target} and {source} contains the other; expected two separate folders")
    if (target / INDEX).exists():
        raise FileExistsError(f"{target / INDEX} exists: these shards are complete; choose another folder")
    present = {path.name for path in target.iterdir()} if target.exists() else set()
    if foreign := sorted(name for name in present if not _OWN_NAMES.fullmatch(name)):
        raise FileExistsError(f"{target} contains {foreign[0]}; expected a new folder, or one that this script began")
    written: list[ShardFile] = []
    members: dict[str, Member] = {}
    for number, files in enumerate(shards):
        path = target / f"shard_{number:06d}.tar"
        kept = _read_back(path, number, files)
        if kept is None:
            with atomic_path(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
                for file in files:
                    tar.addfile(_header(file), BytesIO(_content(source, file)))
        found = kept or _read_back(path, number, files)
        if found is None:
            raise OSError(f"{path} does not contain what was written to it")
        members |= found
        written.append(ShardFile(path.name, path.stat().st_size))
        yield kept is not None
    for name in present - {shard.name for shard in written}:
        (target / name).unlink()
    write_text(target / INDEX, ShardIndex.of(written, members).to_json())


def check_shards(shards: Shards) -> Iterator[str | None]:
    """Read every file and yield its error message, or ``None``."""
    for name in shards.index.files():
        try:
            shards.read(name)
            yield None
        except (OSError, ValueError) as error:
            yield str(error)


def _visible(names: Sequence[str]) -> list[str]:
    return sorted((name for name in names if not name.startswith(".")), key=lambda name: natural_key(Path(name)))


def _header(file: SourceFile) -> tarfile.TarInfo:
    # Owner and mode are left out, so that equal files make equal shards.
    info = tarfile.TarInfo(file.name)
    info.size, info.mtime = file.size, file.time
    return info


def _content(source: Path, file: SourceFile) -> bytes:
    content = (source / file.name).read_bytes()
    if len(content) != file.size:
        raise ValueError(f"{source / file.name} has {len(content)} bytes; expected {file.size}, its size when this run began")
    return content


def _read_back(path: Path, number: int, files: Sequence[SourceFile]) -> dict[str, Member] | None:
    """Return the members of an existing shard; ``None`` unless it contains exactly these files."""
    members: dict[str, Member] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            found = [(info.name, info.size, int(info.mtime), info.type) for info in tar]
            if found != [(*file, tarfile.REGTYPE) for file in files]:
                return None
            for info in tar:
                content = tar.extractfile(info)
                assert content is not None
                members[info.name] = Member(number, info.offset_data, info.size, zlib.crc32(content.read()))
    except (FileNotFoundError, tarfile.ReadError):
        return None
    return members
