"""Roots of data sets: a folder on disk, or shards under the interface of :class:`pathlib.Path`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn, cast

from src.data.shards.reader import INDEX, Shards, open_shards


def dataset_root(root: str | Path | ShardPath) -> Path:
    """Open the root of a data set: a folder of files; or a folder of shards, or its URL in any protocol of fsspec.

    A path into shards is returned unchanged.

    Returns:
        A path; into shards a :class:`ShardPath`, which has the methods of :class:`pathlib.Path` that readers use. Errors as of
        :class:`Shards`.
    """
    if isinstance(root, ShardPath):
        return cast(Path, root)
    text = str(root)
    if "://" not in text and not (Path(root) / INDEX).is_file():
        return Path(root)
    path = ShardPath(text.rstrip("/"))
    open_shards(path.url)
    return cast(Path, path)


_ROOT = PurePosixPath()


class ShardStat(NamedTuple):
    """Size of a file, bytes."""

    st_size: int


@dataclass(frozen=True, order=True, slots=True)
class ShardPath:
    """File or folder in shards, under the names of :class:`pathlib.Path`; names that it lacks raise ``AttributeError``.

    It is no subclass of ``Path``, which would look on the local disk instead. Pickled paths carry the URL, not the index: each
    process reads the index once. The place is relative to the root.
    """

    url: str
    place: PurePosixPath = _ROOT

    name = property(attrgetter("place.name"))
    stem = property(attrgetter("place.stem"))
    suffix = property(attrgetter("place.suffix"))

    @property
    def shards(self) -> Shards:
        """The shards."""
        return open_shards(self.url)

    @property
    def parent(self) -> ShardPath:
        """The folder that contains this path."""
        return ShardPath(self.url, self.place.parent)

    def __str__(self) -> str:
        return f"{self.url}/{self.place}" if self.place.parts else self.url

    def joinpath(self, *names: str | PurePosixPath) -> ShardPath:
        """Return a path below this one."""
        return ShardPath(self.url, self.place.joinpath(*names))

    __truediv__ = joinpath

    def is_relative_to(self, other: object) -> bool:
        """Return true if this path is below another one into the same shards."""
        return isinstance(other, ShardPath) and other.url == self.url and self.place.is_relative_to(other.place)

    def relative_to(self, other: ShardPath) -> PurePosixPath:
        """Return the place below another path into the same shards."""
        if not self.is_relative_to(other):
            raise ValueError(f"{self} is not below {other}")
        return self.place.relative_to(other.place)

    def is_file(self) -> bool:
        """Return true for a file."""
        return self.shards.index.find(self._key) is not None

    def is_dir(self) -> bool:
        """Return true for a folder."""
        return self.shards.index.is_folder(self._key)

    def is_symlink(self) -> bool:
        """Return false: shards contain the targets of links."""
        return False

    def exists(self) -> bool:
        """Return true for a file or folder."""
        return self.is_file() or self.is_dir()

    def stat(self) -> ShardStat:
        """Return the size of the file."""
        member = self.shards.index.find(self._key)
        if member is None:
            raise FileNotFoundError(errno.ENOENT, "not in the shards", str(self))
        return ShardStat(member.size)

    def iterdir(self) -> Iterator[ShardPath]:
        """Return the paths in the folder."""
        if not self.is_dir():
            raise FileNotFoundError(errno.ENOENT, "not in the shards", str(self))
        return (self / name for name in self.shards.index.entries(self._key))

    def glob(self, pattern: str) -> Iterator[ShardPath]:
        """Yield the paths that match a pattern with one part for each level."""
        if "**" in pattern:
            raise NotImplementedError(f"pattern is {pattern!r}; expected no '**', which paths into shards do not support")
        first, _, rest = pattern.partition("/")
        for path in self.iterdir() if self.is_dir() else ():
            if fnmatchcase(path.name, first):
                yield from path.glob(rest) if rest else (path,)

    def read_bytes(self) -> bytes:
        """Return the content of the file; errors as of :meth:`src.data.shards.reader.Shards.read`."""
        return self.shards.read(self._key)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the text of the file."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r") -> BytesIO:
        """Return the content as a file; the mode must be ``rb``."""
        if mode != "rb":
            self.mkdir()
        return BytesIO(self.read_bytes())

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> NoReturn:
        """Raise ``OSError``: shards are read-only."""
        raise OSError(errno.EROFS, "shards are read-only; expected mode 'rb'", str(self))

    @property
    def _key(self) -> str:
        return "/".join(self.place.parts)
