"""JSON files with long lists, written item by item in constant memory."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any


class JsonStream:
    """Writer of a JSON object whose lists grow while the file is written.

    The first list is written to the file itself, the others to nameless files beside it until :meth:`close`.

    Args:
        path: output file; an existing file is replaced.
        head: members of the object before the lists.
        lists: names of the lists; at least one.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], lists: Sequence[str]) -> None:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(path.open("w", encoding="utf-8"))
        self._parts: dict[str, IO[str]] = {lists[0]: self._file}
        for name in lists[1:]:
            part = tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent)  # noqa: SIM115
            self._parts[name] = self._stack.enter_context(part)
        self._begun = set[str]()
        members = "".join(f"{json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
        self._file.write(f"{{\n{members}{json.dumps(lists[0])}: [")

    def add(self, name: str, item: Any) -> None:
        """Append an item to a list."""
        self._parts[name].write(("," if name in self._begun else "") + "\n" + json.dumps(item, separators=(",", ":")))
        self._begun.add(name)

    def close(self) -> None:
        """Complete the file."""
        with self._stack:
            self._file.write("\n]")
            for name, part in self._parts.items():
                if part is not self._file:
                    part.seek(0)
                    self._file.write(f",\n{json.dumps(name)}: [")
                    shutil.copyfileobj(part, self._file)
                    self._file.write("\n]")
            self._file.write("\n}\n")

    def abandon(self) -> None:
        """Close the file, complete or not."""
        self._stack.close()
