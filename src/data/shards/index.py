"""Which files the shards of a data set hold, and where: the content of ``shards.json``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 1


class Member(NamedTuple):
    """Where a file is.

    Attributes:
        shard: number of the tar file.
        offset: of its first byte in there.
        size: bytes.
        crc32: checksum of its bytes.
    """

    shard: int
    offset: int
    size: int
    crc32: int


class ShardFile(NamedTuple):
    """One tar file."""

    name: str
    size: int


class ShardIndex:
    """Which files there are, and where.

    Args:
        shards: the tar files.
        folders: folder relative to the root -> names of the files in it, and (files, 4) int64: each one's :class:`Member`.

    Raises:
        ValueError: if a name leads out of the root, or a file lies outside its shard.
    """

    def __init__(self, shards: Sequence[ShardFile], folders: Mapping[str, tuple[Sequence[str], NDArray[np.int64]]]) -> None:
        self.shards = tuple(shards)
        for shard in self.shards:
            _check_name(shard.name)
        lengths = np.array([shard.size for shard in self.shards], np.int64)
        # A number for each name, and the members as arrays: millions of Python objects less.
        self._rows: dict[str, dict[str, int]] = {}
        self._members: dict[str, NDArray[np.int64]] = {}
        self._subfolders: dict[str, dict[str, None]] = {"": {}}
        for folder, (files, members) in folders.items():
            _check_name(*files, *(folder.split("/") if folder else ()))
            rows = {file: row for row, file in enumerate(files)}
            if len(rows) != len(files) or members.shape != (len(files), len(Member._fields)):
                raise ValueError(f"folder {folder!r} does not have {len(Member._fields)} numbers for each of its files")
            shard_numbers, offsets, sizes, _ = members.T
            if members.min(initial=0) < 0 or shard_numbers.max(initial=-1) >= len(lengths):
                raise ValueError(f"folder {folder!r} has files in shards that there are not")
            if (sizes > lengths[shard_numbers] - offsets).any():
                raise ValueError(f"folder {folder!r} has files beyond the end of a shard")
            self._rows[folder], self._members[folder] = rows, members
            below = folder
            self._subfolders.setdefault(below, {})
            while below:
                above, _, name = below.rpartition("/")
                self._subfolders.setdefault(above, {})[name] = None
                below = above

    @classmethod
    def of(cls, shards: Sequence[ShardFile], members: Mapping[str, Member]) -> ShardIndex:
        """From file names relative to the root, and where each file is."""
        names: dict[str, list[str]] = defaultdict(list)
        values: dict[str, list[Member]] = defaultdict(list)
        for path, member in members.items():
            folder, _, file = path.rpartition("/")
            names[folder].append(file)
            values[folder].append(member)
        return cls(shards, {folder: (files, np.array(values[folder], np.int64)) for folder, files in names.items()})

    def find(self, name: str) -> Member | None:
        """Where a file is; ``None`` if there is none of that name."""
        folder, _, file = name.rpartition("/")
        row = self._rows.get(folder, {}).get(file)
        return None if row is None else Member(*self._members[folder][row].tolist())

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name; the root's is empty."""
        return name in self._subfolders

    def entries(self, folder: str) -> Iterator[str]:
        """Names of the files and folders in a folder."""
        yield from self._rows.get(folder, ())
        yield from self._subfolders.get(folder, ())

    def files(self) -> Iterator[str]:
        """Names of all files, relative to the root."""
        for folder, rows in self._rows.items():
            yield from (f"{folder}/{file}".lstrip("/") for file in rows)

    def to_json(self) -> str:
        """As :meth:`from_json` reads it."""
        folders = {
            folder: {"names": list(rows), **dict(zip(Member._fields, self._members[folder].T.tolist(), strict=True))}
            for folder, rows in self._rows.items()
        }
        return json.dumps({"format": FORMAT, "shards": [list(shard) for shard in self.shards], "folders": folders}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ShardIndex:
        """From the content of ``shards.json``.

        Raises:
            ValueError: if it is not such.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r} instead of {FORMAT}")
            folders = {
                folder: (columns["names"], np.array([columns[name] for name in Member._fields], np.int64).T)
                for folder, columns in content["folders"].items()
            }
            return cls([ShardFile(name, int(size)) for name, size in content["shards"]], folders)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_name(*names: str) -> None:
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not the name of a file or folder")
