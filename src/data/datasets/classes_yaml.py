"""``classes.yaml``: the classes of an own data set.

```yaml
fps: 25                                               # frames per second; 25 where it is not said
ignore: [255]                                         # mask values of no class; [255] where it is not said
classes:
  - road                                              # mask value 0: its place in the list; color chosen
  - {name: car, value: 7, color: [0, 0, 142]}        # all of it said
  - {name: plant, value: [8, 9]}                      # two mask values that make one class
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from src.data.clips import Color
from src.data.datasets.palette import distinct_palette
from src.structures import IGNORE_INDEX

_PAGE_KEYS = {"fps", "ignore", "classes"}
_CLASS_KEYS = {"name", "value", "color"}
_LARGEST_VALUE = 2**16 - 1


@dataclass(frozen=True)
class ClassDefinitions:
    """What ``classes.yaml`` says.

    Attributes:
        classes: K names.
        palette: K colors.
        values: mask value -> class or ``IGNORE_INDEX``.
        fps: frames per second.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    values: dict[int, int]
    fps: float


def read_classes_yaml(path: Path) -> ClassDefinitions:
    """Read ``classes.yaml``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not as above; the message says where.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected the class names, as in 'classes: [road, car]'")
    try:
        page = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML ({error})") from error
    if not isinstance(page, dict) or "classes" not in page or set(page) - _PAGE_KEYS:
        found = list(page) if isinstance(page, dict) else type(page).__name__
        raise ValueError(f"{path} holds {found}; expected the key 'classes', and besides it only 'fps' and 'ignore'")
    entries = page["classes"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= IGNORE_INDEX - 1:
        raise ValueError(f"{path}: 'classes' is {entries!r}; expected a list of 1..{IGNORE_INDEX - 1} names")
    parsed = [_entry(path, number, entry) for number, entry in enumerate(entries)]
    names = [str(entry["name"]) for entry in parsed]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: class {max(names, key=names.count)!r} is there more than once; expected different names")
    chosen = distinct_palette(len(parsed))
    return ClassDefinitions(
        tuple(names),
        tuple(_color(path, entry, fallback) for entry, fallback in zip(parsed, chosen, strict=True)),
        _values(path, page.get("ignore", [IGNORE_INDEX]), parsed),
        _fps(path, page.get("fps", 25)),
    )


def _entry(path: Path, number: int, entry: Any) -> dict[str, Any]:
    """A class as a dict with name and value."""
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or set(entry) - _CLASS_KEYS:
        raise ValueError(f"{path}: class {number} is {entry!r}; expected a name, or a mapping with name, value and color")
    return {"value": number, **entry}


def _values(path: Path, ignore: Any, entries: list[dict[str, Any]]) -> dict[int, int]:
    values: dict[int, int] = {}
    for listed, target in [*((entry["value"], k) for k, entry in enumerate(entries)), (ignore, IGNORE_INDEX)]:
        name = "ignore" if target == IGNORE_INDEX else entries[target]["name"]
        for value in listed if isinstance(listed, list) else [listed]:
            if type(value) is not int or not 0 <= value <= _LARGEST_VALUE:
                raise ValueError(f"{path}: mask value {value!r} of {name!r}; expected a whole number 0..{_LARGEST_VALUE}")
            if value in values:
                raise ValueError(f"{path}: mask value {value} of {name!r} is already taken; expected each value once")
            values[value] = target
    return values


def _color(path: Path, entry: dict[str, Any], fallback: Color) -> Color:
    color = entry.get("color", fallback)
    if len(color := list(color) if isinstance(color, list | tuple) else []) != 3 or not all(
        type(part) is int and 0 <= part <= 255 for part in color
    ):
        raise ValueError(f"{path}: color {entry['color']!r} of {entry['name']!r}; expected three whole numbers 0..255 (RGB)")
    return color[0], color[1], color[2]


def _fps(path: Path, fps: Any) -> float:
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise ValueError(f"{path}: fps is {fps!r}; expected a number above 0")
    return float(fps)
