"""Finished rows of an evaluation that was stopped: ``<output>.partial.json``, which no reader takes for a table.

```
{"complete": false, "rows": [...], "missing": ["query, fixed, k=5", ...]}
```
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from src.files.atomic_write import write_text
from src.files.results.result_marker import read_json
from src.files.tables import Row

log = logging.getLogger(__name__)


def check_partial(output: Path) -> None:
    """Raise ``FileExistsError`` if a file of another origin has the name of the partial result."""
    path = _path(output)
    if path.exists() and not _is_partial(path):
        raise FileExistsError(
            f"{path} is no partial result of an evaluation; expected no other file; move it or name another output"
        )


def keep_finished(rows: Sequence[Row], missing: Sequence[str], output: Path) -> None:
    """Write the finished rows, if any, and the names of the missing ones, and log the path."""
    if not rows:
        log.error("no result was finished, so nothing is written; missing: %s", "; ".join(missing))
        return
    content = {"complete": False, "rows": list(rows), "missing": list(missing)}
    write_text(_path(output), json.dumps(content, indent=2, allow_nan=False) + "\n")
    log.error("written: %s, the %d finished rows; missing: %s", _path(output), len(rows), "; ".join(missing))


def remove_partial(output: Path) -> None:
    """Remove the partial result of an earlier run, now that the table is complete."""
    if _is_partial(_path(output)):
        _path(output).unlink()


def _path(output: Path) -> Path:
    return output.with_suffix(".partial.json")


def _is_partial(path: Path) -> bool:
    content = read_json(path)
    return content.get("complete") is False and {"rows", "missing"} <= set(content)
