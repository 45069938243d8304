"""Data sets in shards: many small files as members of few tar files, read by byte ranges from a disk or over a network.

```
<root>/shard_000000.tar, ...    the files of a data set under their own names: `tar xf` gives them back, WebDataset reads them
<root>/shards.json              where each of them is, and its checksum; written last
```
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from src.data.shards.index import Member, ShardFile, ShardIndex
from src.files.images import CorruptFileError

INDEX = "shards.json"
CACHE_VARIABLE = "SHARD_CACHE"
"""Environment variable: folder on a local disk that keeps what was read. A matter of the machine, not of an experiment."""

_PAUSES = (1.0, 4.0, 15.0)  # seconds before a request that failed is made again
_RECENT = 4  # files whose bytes are kept: the size of an image is asked for right after its pixels

log = logging.getLogger(__name__)


class Shards:
    """The files in the shards of one folder.

    Args:
        url: a local folder, or what fsspec takes for one: ``https://...``, ``s3://...``, ``gs://...``.
        cache: folder that receives what was read: sparse copies of the shards, which any number of processes share. The
            checksums say which parts of them are there.

    Raises:
        FileNotFoundError: if there is no index.
        PermissionError: if it may not be read.
        ValueError: if it is not one, if a shard on the local disk has another length than it says, or if the URL's protocol needs
            a package that is not installed.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._process: int | None = None
        self._opened: tuple[Any, str]
        path = f"{self.url}/{INDEX}"
        try:
            self.index = ShardIndex.from_json(self._request(INDEX))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} does not exist; expected the shards that scripts/make_shards.py writes") from error
        except ValueError as error:
            raise ValueError(f"{path} cannot be read ({error}); expected the index that scripts/make_shards.py writes") from error
        self._recent = lru_cache(_RECENT)(self._read)
        self._cache = None if cache is None else _SparseCopies(cache / f"{zlib.crc32(self.url.encode()):08x}")
        if "://" not in self.url:
            for shard in self.index.shards:
                self._check_length(shard)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: if there is no such file.
            CorruptFileError: if its shard is cut off or altered.
            OSError: if its shard cannot be read after several attempts.
        """
        return self._recent(name)

    def clear(self) -> None:
        """Drop the files that were just read, which are kept for a moment."""
        self._recent.cache_clear()

    def _read(self, name: str) -> bytes:
        member = self.index.find(name)
        if member is None:
            raise FileNotFoundError(f"{self.url}/{name} is not in the shards")
        shard = self.index.shards[member.shard]
        if self._cache is not None:
            content = self._cache.read(shard.name, member)
            if zlib.crc32(content) == member.crc32 and len(content) == member.size:
                return content
        content = self._request(shard.name, member) if member.size else b""
        where = f"{shard.name}, byte {member.offset} on"
        if len(content) != member.size:
            self._check_length(shard)
            raise CorruptFileError(
                f"{self.url}/{name}: {len(content)} bytes came of {where}; expected {member.size}: does the server know ranges?"
            )
        if (found := zlib.crc32(content)) != member.crc32:
            raise CorruptFileError(f"{self.url}/{name}: checksum {found:08x} in {where}; expected {member.crc32:08x}")
        if self._cache is not None:
            self._cache.write(shard.name, member, content)
        return content

    def _request(self, file: str, member: Member | None = None) -> bytes:
        """A file beside the index, or the part of it that a member is."""
        start, end = (None, None) if member is None else (member.offset, member.offset + member.size)
        files, folder = self._files()
        for pause in (*_PAUSES, None):
            try:
                return bytes(files.cat_file(f"{folder}/{file}", start=start, end=end))
            except FileNotFoundError:
                raise
            except PermissionError as error:
                raise PermissionError(f"{self.url}/{file} may not be read: {error}") from error
            # Each protocol has errors of its own, and few of them are an OSError.
            except Exception as error:
                if member is not None:
                    self._check_length(self.index.shards[member.shard])
                if pause is None:
                    raise OSError(f"{self.url}/{file} cannot be read after {len(_PAUSES) + 1} attempts: {error!r}") from error
                log.warning("%s/%s: %r; next attempt in %g s", self.url, file, error, pause)
                time.sleep(pause)
        raise AssertionError

    def _check_length(self, shard: ShardFile) -> None:
        try:
            files, folder = self._files()
            found = files.size(f"{folder}/{shard.name}")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url}/{shard.name} does not exist; expected {shard.size} bytes") from error
        except Exception as error:
            log.warning("%s/%s: its length is unknown: %r", self.url, shard.name, error)
            return
        if found not in (None, shard.size):
            raise CorruptFileError(f"{self.url}/{shard.name} has {found} bytes; expected {shard.size}: copy it again")

    def _files(self) -> tuple[Any, str]:
        # Connections do not survive the fork of a loader process.
        if self._process != os.getpid():
            self._process = os.getpid()
            try:
                self._opened = url_to_fs(self.url)
            except ImportError as error:
                raise ValueError(f"{self.url} cannot be read without a further package: {error}") from error
        return self._opened


@lru_cache
def open_shards(url: str) -> Shards:
    """The shards of a folder, with the cache that the environment names; each process reads an index once."""
    cache = os.environ.get(CACHE_VARIABLE)
    return Shards(url, Path(cache) if cache else None)


class _SparseCopies:
    """Files with holes where nothing has been written yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, shard: str, member: Member) -> bytes:
        """What is at a member's place: its bytes, or others."""
        try:
            with (self.folder / shard).open("rb") as file:
                return os.pread(file.fileno(), member.size, member.offset)
        except OSError:
            # Nothing was written yet, or nothing can be.
            return b""

    def write(self, shard: str, member: Member, content: bytes) -> None:
        """Put a member at its place. Two processes that do it at once write the same."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / shard, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, content, member.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("%s takes nothing (%s): reading goes on without it", self.folder, error)
