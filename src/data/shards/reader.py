"""Reader of data sets in shards: many small files as members of a few tar files, read by byte ranges.

```
<root>/shard_000000.tar, ...    the files under their own names: `tar xf` restores the folder, WebDataset reads them
<root>/shards.json              place and checksum of each file; written last
```
"""

import logging
import os
import time
import zlib
from functools import lru_cache
from pathlib import Path

from fsspec.core import url_to_fs

from src.data.shards.index import Member, ShardFile, ShardIndex
from src.files.images.readers import CorruptFileError

INDEX = "shards.json"
CACHE_VARIABLE = "SHARD_CACHE"
"""Environment variable with the folder on a local disk that caches what was read: a property of the machine, not of a run."""

_PAUSES = (1.0, 4.0, 15.0)  # seconds before a failed request is repeated
_RECENT = 4  # files kept in memory: the size of an image is read right after its pixels

log = logging.getLogger(__name__)


class Shards:
    """Files in the shards of one folder.

    Args:
        url: a local folder, or its URL in any protocol of fsspec: ``https://...``, ``s3://...``, ``gs://...``.
        cache: folder for sparse copies of the shards, which any number of processes share; the checksums distinguish the parts
            that are present from the holes.

    Raises:
        FileNotFoundError: if there is no index.
        PermissionError: if the index may not be read.
        ValueError: if the index is not valid, a local shard has the wrong length, or the protocol needs a package that is not
            installed.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._cache = None if cache is None else cache / f"{zlib.crc32(self.url.encode()):08x}"
        self._recent = lru_cache(_RECENT)(self._read)
        path = f"{self.url}/{INDEX}"
        try:
            self.index = ShardIndex.from_json(self._request(INDEX))
        except ImportError as error:
            raise ValueError(f"{self.url} cannot be read without a further package: {error}") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} does not exist; expected the shards of scripts/make_shards.py") from error
        except ValueError as error:
            raise ValueError(f"{path} cannot be read ({error}); expected the index of scripts/make_shards.py") from error
        if "://" not in self.url:
            for shard in self.index.shards:
                self._check_length(shard)

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: if there is no such file.
            CorruptFileError: if its shard is truncated or altered.
            OSError: if its shard cannot be read after several attempts.
        """
        return self._recent(name)

    def clear(self) -> None:
        """Drop the few files that are kept in memory."""
        self._recent.cache_clear()

    def _read(self, name: str) -> bytes:
        member = self.index.find(name)
        if member is None:
            raise FileNotFoundError(f"{self.url}/{name} is not in the shards")
        if (cached := self._cached(member)) is not None:
            return cached
        shard = self.index.shards[member.shard]
        content = self._request(shard.name, member) if member.size else b""
        where = f"{shard.name}, from byte {member.offset}"
        if len(content) != member.size:
            self._check_length(shard)
            raise CorruptFileError(
                f"{self.url}/{name}: received {len(content)} bytes of {where}; expected {member.size}; "
                "the server may not support range requests"
            )
        if (found := zlib.crc32(content)) != member.crc32:
            raise CorruptFileError(f"{self.url}/{name}: checksum of {where} is {found:08x}; expected {member.crc32:08x}")
        self._write_cache(member, content)
        return content

    def _request(self, file: str, member: Member | None = None) -> bytes:
        """Read a file beside the index, or the part of it that a member occupies."""
        start, end = (None, None) if member is None else (member.offset, member.offset + member.size)
        files, folder = url_to_fs(self.url)
        for pause in (*_PAUSES, None):
            try:
                return bytes(files.cat_file(f"{folder}/{file}", start=start, end=end))
            except FileNotFoundError:
                raise
            except PermissionError as error:
                raise PermissionError(f"{self.url}/{file} may not be read: {error}") from error
            # Each protocol has its own errors, and few of them are an OSError.
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
            files, folder = url_to_fs(self.url)
            found = files.size(f"{folder}/{shard.name}")
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.url}/{shard.name} does not exist; expected {shard.size} bytes") from error
        except Exception as error:
            log.warning("%s/%s: its length is unknown: %r", self.url, shard.name, error)
            return
        if found not in (None, shard.size):
            raise CorruptFileError(f"{self.url}/{shard.name} has {found} bytes; expected {shard.size}; copy it again")

    def _cached(self, member: Member) -> bytes | None:
        if self._cache is None:
            return None
        try:
            with (self._cache / self.index.shards[member.shard].name).open("rb") as file:
                content = os.pread(file.fileno(), member.size, member.offset)
        except OSError:
            # Not cached yet; a broken cache is reported when it is written.
            return None
        return content if len(content) == member.size and zlib.crc32(content) == member.crc32 else None

    def _write_cache(self, member: Member, content: bytes) -> None:
        """Write a member at its place in the sparse copy; processes that do so at once write equal bytes."""
        if self._cache is None:
            return
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._cache / self.index.shards[member.shard].name, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, content, member.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("cannot write cache %s (%s); continuing without it", self._cache, error)


@lru_cache
def open_shards(url: str) -> Shards:
    """Open the shards of a folder, with the cache that ``SHARD_CACHE`` names; each process reads an index once."""
    cache = os.environ.get(CACHE_VARIABLE)
    return Shards(url, Path(cache) if cache else None)
