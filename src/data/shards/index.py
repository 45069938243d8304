"""Index of a sharded data set: the content of ``shards.json``, with the place and checksum of every file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 1


class Member(NamedTuple):
    """Place of a file: number of the tar file, offset of the first byte in it, number of bytes, and their checksum."""

    shard: int
    offset: int
    size: int
    crc32: int


class ShardFile(NamedTuple):
    """Name and size (bytes) of a tar file."""

    name: str
    size: int


class ShardIndex:
    """Names and places of all files.

    Args:
        shards: the tar files.
        folders: folder relative to the root -> names of its files, and (files, 4) int64, the :class:`Member` of each.

    Raises:
        ValueError: if a name leads out of the root, or a file lies outside its shard.
    """

    def __init__(self, shards: Sequence[ShardFile], folders: Mapping[str, tuple[Sequence[str], NDArray[np.int64]]]) -> None:
        self.shards = tuple(shards)
        _check_names(shard.name for shard in self.shards)
        lengths = np.array([shard.size for shard in self.shards], np.int64)
        # Rows of one array per folder instead of millions of Python objects.
        self._rows: dict[str, dict[str, int]] = {}
        self._members = {folder: members for folder, (_, members) in folders.items()}
        self._subfolders: dict[str, dict[str, None]] = {"": {}}
        for folder, (files, members) in folders.items():
            _check_names((*files, *(folder.split("/") if folder else ())))
            rows = self._rows[folder] = {file: row for row, file in enumerate(files)}
            if len(rows) != len(files) or members.shape != (len(files), len(Member._fields)):
                raise ValueError(f"folder {folder!r} does not have {len(Member._fields)} numbers for each of its files")
            shard_numbers, offsets, sizes, _ = members.T
            if members.min(initial=0) < 0 or shard_numbers.max(initial=-1) >= len(lengths):
                raise ValueError(f"folder {folder!r} has files in missing shards; expected numbers 0..{len(lengths) - 1}")
            if (sizes > lengths[shard_numbers] - offsets).any():
                raise ValueError(f"folder {folder!r} has files beyond the end of a shard")
            self._subfolders.setdefault(folder, {})
            while folder:
                parent, _, name = folder.rpartition("/")
                self._subfolders.setdefault(parent, {})[name] = None
                folder = parent

    @classmethod
    def of(cls, shards: Sequence[ShardFile], members: Mapping[str, Member]) -> ShardIndex:
        """Index files by their names relative to the root."""
        folders: defaultdict[str, dict[str, Member]] = defaultdict(dict)
        for path, member in members.items():
            folder, _, file = path.rpartition("/")
            folders[folder][file] = member
        return cls(shards, {name: (list(files), np.array(list(files.values()), np.int64)) for name, files in folders.items()})

    def find(self, name: str) -> Member | None:
        """Return the place of a file; ``None`` if there is no such file."""
        folder, _, file = name.rpartition("/")
        row = self._rows.get(folder, {}).get(file)
        return None if row is None else Member(*self._members[folder][row].tolist())

    def is_folder(self, name: str) -> bool:
        """Return true for a folder; the name of the root is empty."""
        return name in self._subfolders

    def entries(self, folder: str) -> Iterator[str]:
        """Yield the names of the files and folders in a folder."""
        yield from self._rows.get(folder, ())
        yield from self._subfolders.get(folder, ())

    def files(self) -> Iterator[str]:
        """Yield the names of all files, relative to the root."""
        for folder, rows in self._rows.items():
            yield from (f"{folder}/{file}".lstrip("/") for file in rows)

    def to_json(self) -> str:
        """Return the content of ``shards.json``."""
        folders = {
            folder: {"names": list(rows), **dict(zip(Member._fields, self._members[folder].T.tolist(), strict=True))}
            for folder, rows in self._rows.items()
        }
        return json.dumps({"format": FORMAT, "shards": [list(shard) for shard in self.shards], "folders": folders}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ShardIndex:
        """Read the content of ``shards.json``.

        Raises:
            ValueError: if it is not a valid index.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"format is {content['format']!r}; expected {FORMAT}")
            folders = {
                folder: (columns["names"], np.array([columns[name] for name in Member._fields], np.int64).T)
                for folder, columns in content["folders"].items()
            }
            return cls([ShardFile(name, int(size)) for name, size in content["shards"]], folders)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} is not the name of a file or folder")
