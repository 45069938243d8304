"""The root of a data set: a folder on disk, or shards that look like one to its reader."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn, cast

from src.data.shards.reader import INDEX, Shards, open_shards


def dataset_root(root: str | Path) -> Path:
    """What a reader of a data set takes for its folder.

    Args:
        root: a folder of files; or a folder, or a URL that fsspec knows, of shards.

    Returns:
        A path: of shards, one that has as much of :class:`pathlib.Path` as readers use, and nothing that writes.

    Raises:
        FileNotFoundError: if a URL holds no shards.
        ValueError: if the shards' index cannot be read, or a local shard has the wrong length.
    """
    text = str(root)
    if "://" not in text and not (Path(root) / INDEX).is_file():
        return Path(root)
    return cast(Path, ShardPath(open_shards(text.rstrip("/"))))


class ShardStat(NamedTuple):
    """What is known of a file without reading it."""

    st_size: int


_ROOT = PurePosixPath()


class ShardPath:
    """A file or folder in shards, under the names that :class:`pathlib.Path` has.

    What is missing here is missing with an error: a subclass of ``Path`` would look on the local disk instead.

    Args:
        shards: where the files are.
        place: name relative to the root.
    """

    def __init__(self, shards: Shards, place: PurePosixPath = _ROOT) -> None:
        self.shards = shards
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        # Each process reads the index itself: it would travel with every path.
        return _at, (self.shards.url, str(self.place))

    def __str__(self) -> str:
        return f"{self.shards.url}/{self.place}" if self.place.parts else self.shards.url

    def __repr__(self) -> str:
        return f"ShardPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardPath) and (self.shards.url, self.place) == (other.shards.url, other.place)

    def __hash__(self) -> int:
        return hash((self.shards.url, self.place))

    def __lt__(self, other: ShardPath) -> bool:
        return (self.shards.url, self.place) < (other.shards.url, other.place)

    def __truediv__(self, name: str | PurePosixPath) -> ShardPath:
        return ShardPath(self.shards, self.place / name)

    def joinpath(self, *names: str) -> ShardPath:
        """A path below."""
        return ShardPath(self.shards, self.place.joinpath(*names))

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.place.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.place.stem

    @property
    def suffix(self) -> str:
        """What the name ends with, from its last dot on."""
        return self.place.suffix

    @property
    def parent(self) -> ShardPath:
        """The folder it is in."""
        return ShardPath(self.shards, self.place.parent)

    def is_relative_to(self, other: object) -> bool:
        """Whether it is below another path into the same shards."""
        return isinstance(other, ShardPath) and other.shards.url == self.shards.url and self.place.is_relative_to(other.place)

    def relative_to(self, other: ShardPath) -> PurePosixPath:
        """Its place below another path into the same shards."""
        if not self.is_relative_to(other):
            raise ValueError(f"{self} is not below {other}")
        return self.place.relative_to(other.place)

    def is_file(self) -> bool:
        """Whether there is a file of that name."""
        return self.shards.index.find(self._key) is not None

    def is_dir(self) -> bool:
        """Whether there is a folder of that name."""
        return self.shards.index.is_folder(self._key)

    def is_symlink(self) -> bool:
        """Never: shards hold what links pointed to."""
        return False

    def exists(self) -> bool:
        """Whether there is anything of that name."""
        return self.is_file() or self.is_dir()

    def stat(self) -> ShardStat:
        """The size of the file."""
        member = self.shards.index.find(self._key)
        if member is None:
            raise FileNotFoundError(errno.ENOENT, "not in the shards", str(self))
        return ShardStat(member.size)

    def iterdir(self) -> Iterator[ShardPath]:
        """What is in the folder."""
        if not self.is_dir():
            raise FileNotFoundError(errno.ENOENT, "not in the shards", str(self))
        return (self / name for name in self.shards.index.entries(self._key))

    def glob(self, pattern: str) -> Iterator[ShardPath]:
        """Paths below that match a pattern with a part for each level."""
        if "**" in pattern:
            raise NotImplementedError(f"{pattern!r}: paths into shards have no recursive patterns")
        first, _, rest = pattern.partition("/")
        for path in self.iterdir() if self.is_dir() else ():
            if fnmatchcase(path.name, first):
                yield from path.glob(rest) if rest else (path,)

    def read_bytes(self) -> bytes:
        """The file's bytes; errors as of :meth:`src.data.shards.reader.Shards.read`."""
        return self.shards.read(self._key)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file's text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r") -> BytesIO:
        """The file's bytes as a file; the mode can only be ``rb``."""
        if mode != "rb":
            self._refuse()
        return BytesIO(self.read_bytes())

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> NoReturn:
        """An error: shards are only read."""
        self._refuse()

    @property
    def _key(self) -> str:
        return "/".join(self.place.parts)

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EROFS, "shards are only read, as bytes", str(self))


def _at(url: str, place: str) -> ShardPath:
    return ShardPath(open_shards(url), PurePosixPath(place))
