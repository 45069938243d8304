"""Tables of results: JSON and CSV files, Markdown, and tables for the terminal."""

import csv
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from src.files.atomic_write import write_text
from src.files.results.output_names import check_writable
from src.files.results.result_marker import FINISHED, read_marker

Row = dict[str, Any]
"""Column -> value; a value may be a dictionary of values."""


def check_output(path: str | Path, overwrite: bool) -> Path:
    """Return the path of a table's JSON file, checked before the work is done.

    Raises:
        ValueError: if the name does not end in ``.json``.
        FileExistsError: if it, or the CSV beside it, exists and ``overwrite`` is not set, or they are not one table.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"output {path}: expected a name that ends in .json (the CSV goes beside it)")
    check_writable(path.parent)
    existing = [str(file) for file in (path, path.with_suffix(".csv")) if os.path.lexists(file)]
    if existing and not overwrite:
        raise FileExistsError(f"{' and '.join(existing)} exist already: name another output or set overwrite=true")
    if existing and not _is_table(path):
        raise FileExistsError(
            f"{' and '.join(existing)}: expected a table's JSON and CSV with the same columns; move away or name another output"
        )
    return path


def new_path(name: str | None, overwrite: bool, suffix: str = "") -> Path | None:
    """Return the path of a folder to write, or of a file with a suffix, checked before the work is done; ``None`` for ``None``.

    Raises:
        ValueError: if the name of a file has another suffix.
        FileExistsError: if it exists, holds more than the scratch of a killed run, and ``overwrite`` is not set; if it is a
            folder without marker, or of another kind than expected.
        OSError: if it cannot be created where it is.
    """
    if name is None:
        return None
    path = Path(name)
    if path.suffix.lower() != suffix and suffix:
        raise ValueError(f"output is {path}; expected a name that ends in {suffix}")
    check_writable(path.parent if suffix else path)
    if not os.path.lexists(path):
        return path
    if path.is_dir() and not suffix and all(one.name.startswith(".mpvss.") for one in path.iterdir()):
        return path
    if not overwrite:
        raise FileExistsError(f"{path} exists already: name another one or set overwrite=true")
    if suffix and not path.is_file():
        raise FileExistsError(f"{path} is no file; expected a file to replace; name another one")
    if not suffix and read_marker(path) is None:
        raise FileExistsError(f"{path} has files and no {FINISHED} of this project; expected a new folder or earlier results")
    return path


def write_table(rows: Sequence[Row] | Row, path: str | Path) -> tuple[Path, Path]:
    """Write ``<name>.json`` and ``<name>.csv``, each complete or not at all, and return both paths.

    Args:
        rows: the rows, a list in the JSON; a single row becomes an object. The CSV has a column ``<name>/<key>`` for every
            key of a nested value, and empty cells for ``None``.
        path: path of the JSON file.
    """
    import pandas as pd  # takes a second, and training imports this module

    path = Path(path)
    flat = [_flat(row) for row in ([rows] if isinstance(rows, dict) else rows)]
    # As objects, whole numbers stay whole where a row lacks one.
    write_text(path.with_suffix(".csv"), pd.DataFrame(flat, dtype=object).to_csv(index=False, lineterminator="\n"))
    write_text(path, json.dumps(rows, indent=2, allow_nan=False) + "\n")
    return path, path.with_suffix(".csv")


def console_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """Build a table for the terminal: the first column to the left, the others to the right, no cell wrapped."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format rows of text as a Markdown table; a ``|`` inside a cell is escaped."""
    import pandas as pd

    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    # pandas formats Markdown with tabulate, which would otherwise read 10 as a number and 010 as another.
    markdown: str = pd.DataFrame(escaped, columns=list(columns)).to_markdown(index=False, disable_numparse=True)
    return markdown


def number(value: float | None, digits: int = 1, factor: float = 1, missing: str = "-") -> str:
    """Format ``factor * value``; ``missing`` for ``None`` and for values that are not finite."""
    return missing if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"


def without_nan(row: Row) -> Row:
    """Replace every value that is not finite by ``None``, which JSON can hold; nested values too."""

    def cleaned(value: object) -> object:
        if isinstance(value, dict):
            return without_nan(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: cleaned(value) for name, value in row.items()}


def _is_table(path: Path) -> bool:
    """Return whether a JSON file and the CSV beside it were written by :func:`write_table`."""
    try:
        if not (path.is_file() and path.with_suffix(".csv").is_file()):
            return False
        rows = json.loads(path.read_text(encoding="utf-8"))
        with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file), [])
        return {column for row in ([rows] if isinstance(rows, dict) else rows) for column in _flat(row)} == set(columns)
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _flat(row: Row) -> Row:
    flat: Row = {}
    for name, value in row.items():
        flat |= {f"{name}/{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat
