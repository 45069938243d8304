"""Reader of ``classes.yaml``, the class definitions of the user's own dataset.

```yaml
fps: 25                                               # frames per second; default 25
ignore: [255]                                         # ignored mask values; default [255]
classes:
  - road                                              # mask value 0, its place in the list; color of its name
  - {name: car, value: 7, color: [0, 0, 142]}         # explicit mask value and color
  - {name: plant, value: [8, 9]}                      # two mask values of one class
mask_suffix: _mask                                    # the mask of x.jpg is x_mask.png; default none
mask_colors: true                                     # masks show the color of each class, instead of values; default false
ignore_colors: [[0, 0, 0]]                            # ignored colors of such masks; default none
```
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from src.data.clips import Color
from src.data.datasets.own.proposal import proposed_line
from src.data.shards.path import dataset_root
from src.files.text import read_text
from src.structures import IGNORE_INDEX

MaskValues = Annotated[
    list[Annotated[int, Field(ge=0, le=2**16 - 1)]], BeforeValidator(lambda v: v if isinstance(v, list) else [v])
]
Byte = Annotated[int, Field(ge=0, le=255)]


RgbColor = Annotated[list[Byte], Field(min_length=3, max_length=3)]


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    value: Annotated[MaskValues, Field(min_length=1)] | None = None
    color: RgbColor | None = None

    @model_validator(mode="before")
    @classmethod
    def _expand_name(cls, entry: Any) -> Any:
        if not isinstance(entry, str | dict):
            raise ValueError("expected a name, or a mapping with name, value and color")
        return {"name": entry} if isinstance(entry, str) else entry


class _ClassesYaml(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    classes: Annotated[list[_Class], Field(min_length=1, max_length=IGNORE_INDEX - 1)]
    ignore: MaskValues = [IGNORE_INDEX]
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 25.0
    mask_suffix: Annotated[str, Field(pattern=r"^[^/\\]+$")] | None = None
    mask_colors: bool = False
    ignore_colors: list[RgbColor] = []


@dataclass(frozen=True)
class ClassDefinitions:
    """Content of ``classes.yaml``.

    Attributes:
        classes: K names.
        colors: K colors, ``None`` for a class without.
        values: mask value, or color as of :class:`src.files.images.label_png.LabelFormat`, -> class or ``IGNORE_INDEX``.
        fps: frames per second.
        mask_suffix: what the name of a mask has beyond that of its frame.
        mask_colors: whether ``values`` are colors.
    """

    classes: tuple[str, ...]
    colors: tuple[Color | None, ...]
    values: dict[int, int]
    fps: float
    mask_suffix: str = ""
    mask_colors: bool = False


def count_classes(root: str | Path) -> int:
    """Return the number of classes of the user's own dataset at ``root``; errors as of :func:`read_classes_yaml`."""
    return len(read_classes_yaml(dataset_root(root) / "classes.yaml").classes)


def read_classes_yaml(path: Path) -> ClassDefinitions:
    """Read ``classes.yaml``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is malformed; the message names file, line and key.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected the class names, as in '{proposed_line(path.parent)}'; "
            f"python scripts/check_data.py data=folder data.root={path.parent} proposes the file"
        )
    text = read_text(path)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({error})") from error
    try:
        parsed = _ClassesYaml.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        finding = "is missing" if first["type"] == "missing" else f"is {first['input']!r}: {first['msg']}"
        raise _error(path, text, first["loc"], finding) from error
    names = tuple(entry.name for entry in parsed.classes)
    for k, name in enumerate(names):
        if name in names[:k]:
            raise _error(path, text, ("classes", k), f"is {name!r}, which is listed before; expected different names")
    values = _mask_values(path, text, parsed)
    colors = tuple(None if entry.color is None else (entry.color[0], entry.color[1], entry.color[2]) for entry in parsed.classes)
    for k, color in enumerate(colors):
        if color is not None and color in colors[:k]:
            raise _error(
                path, text, ("classes", k, "color"), f"is {list(color)}, which a class before has; expected different colors"
            )
    return ClassDefinitions(names, colors, values, parsed.fps, parsed.mask_suffix or "", parsed.mask_colors)


def _mask_values(path: Path, text: str, parsed: _ClassesYaml) -> dict[int, int]:
    """Map mask values, or colors, to classes; raise ``ValueError`` for one that is missing, not used, or used twice."""
    colored = parsed.mask_colors
    if colored and "ignore" in parsed.model_fields_set:
        raise _error(path, text, ("ignore",), "lists mask values, but mask_colors is true; expected ignore_colors")
    if parsed.ignore_colors and not colored:
        raise _error(path, text, ("ignore_colors",), "lists colors, but mask_colors is false; expected mask_colors: true")
    listed: list[tuple[tuple[str | int, ...], list[int], int]] = []
    for k, entry in enumerate(parsed.classes):
        if colored and (entry.color is None or entry.value is not None):
            finding = "has no color" if entry.color is None else "has a mask value"
            raise _error(path, text, ("classes", k), f"{finding}, but mask_colors is true; expected a name and a color")
        found = [_color_value(entry.color)] if colored and entry.color else entry.value or [k]
        listed.append((("classes", k, "color" if colored else "value"), found, k))
    ignored = [_color_value(color) for color in parsed.ignore_colors] if colored else parsed.ignore
    listed.append((("ignore_colors" if colored else "ignore",), ignored, IGNORE_INDEX))
    values: dict[int, int] = {}
    for location, numbers, target in listed:
        for value in numbers:
            if value in values:
                what = "a color" if colored else f"mask value {value}"
                raise _error(path, text, location, f"contains {what}, which is used before; expected each value once")
            values[value] = target
    return values


def _color_value(color: list[int]) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue


def _error(path: Path, text: str, location: tuple[str | int, ...], finding: str) -> ValueError:
    """Return an error that names the file, the key at ``location`` and the line of the deepest node on the way to it."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    node: yaml.Node | None = yaml.compose(text, yaml.SafeLoader)
    line = 1 if node is None else node.start_mark.line + 1
    for part in location:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        children = dict(enumerate(node.value)) if isinstance(node, yaml.SequenceNode) else {k.value: v for k, v in pairs}
        node = children.get(part)
        if node is None:
            break
        line = node.start_mark.line + 1
    return ValueError(f"{path}, line {line}: {key or 'the content'} {finding}")
