"""Exclusion lists: files and videos of a damaged copy of a dataset to leave out, as a JSON file that can be edited by hand.

```
{"files": ["data/<video>/origin/<frame>.jpg", ...],   images and labels, relative to the root
 "videos": ["<video>", ...],                          entries of split lists to leave out
 "repeated": ["<video>", ...]}                        entries of split lists of which only the first occurrence counts
```
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from src.files.atomic_write import write_text

_KEYS = ("files", "videos", "repeated")


@dataclass(frozen=True)
class Exclusion:
    """Files and videos to leave out; the paths of files have forward slashes."""

    files: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Exclusion:
        """Read an exclusion list.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if the file is malformed, or names a file outside the root.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; expected an exclusion list, as written by scripts/check_data.py")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON ({error}); expected an exclusion list") from error
        if not isinstance(content, dict) or set(content) - set(_KEYS):
            found = sorted(content) if isinstance(content, dict) else type(content).__name__
            raise ValueError(f"{path} holds {found}; expected an object with the keys {', '.join(_KEYS)}")
        lists = {key: content.get(key, []) for key in _KEYS}
        for key, names in lists.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{path}: {key!r} is {names!r}; expected a list of names")
        for name in lists["files"]:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{path}: {name!r} is not a path below the root of the dataset")
        return cls(**{key: tuple(names) for key, names in lists.items()})

    def write(self, path: Path) -> None:
        """Write the list atomically."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
