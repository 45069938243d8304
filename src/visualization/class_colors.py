"""Colors of classes: chosen by the user, by class name, as published by a data set, or distinct from all others.

``published_colors.json`` has the colors of Cityscapes, CamVid, VSPW (those of VIPSeg's category list), ADE20K (those of its
toolkit) and the moving scenes by class name, ``class_synonyms.json`` further names of Cityscapes' classes.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.visualization.palette import DEFAULT_ALPHA, Color, PaletteChoice


def _read(name: str) -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return found


_PUBLISHED: dict[str, dict[str, Color]] = {
    data: {name: (red, green, blue) for name, (red, green, blue) in colors.items()}
    for data, colors in _read("published_colors.json").items()
}
_SYNONYMS = {str(other): name for name, others in _read("class_synonyms.json").items() for other in others}
_OTHERS_BY_NAME = ("vspw", "ade20k", "moving_scenes")
# Void is black, and pictures use white and mid grey for "nothing" and "unknown".
_RESERVED: tuple[Color, ...] = ((0, 0, 0), (255, 255, 255), (128, 128, 128))
_GREY = 128
# Twenty colors, of lightness 30 to 93, that differ by at least 15 (CIEDE2000) when blended on mid grey at the default alpha.
_OWN: tuple[Color, ...] = (
    (70, 232, 255), (255, 0, 0), (46, 0, 232), (185, 93, 46), (185, 209, 255), (0, 93, 0), (70, 70, 93), (255, 0, 255),
    (255, 162, 0), (0, 255, 0), (0, 116, 255), (93, 70, 0), (209, 232, 185), (0, 116, 139), (139, 116, 232), (0, 209, 139),
    (255, 116, 162), (255, 209, 185), (139, 162, 0), (139, 23, 93),
)  # fmt: skip
_LEVELS = (20, 55, 90, 125, 160, 195, 230, 255)


def class_palette(
    classes: Sequence[str], chosen: Sequence[Color | None] = (), choice: PaletteChoice = "names"
) -> tuple[Color, ...]:
    """Return K different colors.

    A class has the first of these colors that no class before it has: the chosen one; with ``dataset``, the one published by the
    data set that has all the classes; Cityscapes' by name or synonym; VSPW's, ADE20K's or the moving scenes' by name; a color of
    :func:`distinct_palette`.

    Args:
        classes: K names; case, underscores and what follows a comma are ignored.
        chosen: K colors, ``None`` for a class without; empty without any.
        choice: see ``PaletteChoice``.
    """
    if chosen and len(chosen) != len(classes):
        raise ValueError(f"{len(classes)} class names but {len(chosen)} colors; expected one each")
    names = [name.split(",")[0].replace("_", " ").replace("-", " ").strip().lower() for name in classes]
    found: dict[int, Color] = {}

    def assign(candidates: Iterable[Color | None]) -> None:
        for k, color in enumerate(candidates):
            if color is not None and k not in found and color not in found.values():
                found[k] = color

    assign(chosen)
    if choice == "dataset":
        published = next((table for table in _PUBLISHED.values() if all(name in table for name in names)), {})
        assign(map(published.get, names))
    cityscapes = _PUBLISHED["cityscapes"]
    assign(map(cityscapes.get, names))
    assign(cityscapes.get(_SYNONYMS.get(name, name)) for name in names)
    for table in _OTHERS_BY_NAME:
        assign(map(_PUBLISHED[table].get, names))
    others = iter(distinct_palette(len(classes) - len(found), found.values()))
    return tuple(found[k] if k in found else next(others) for k in range(len(classes)))


def distinct_palette(num_classes: int, taken: Collection[Color] = ()) -> tuple[Color, ...]:
    """Choose K (at most 512) different RGB colors: each is the candidate farthest from the taken ones and all before it.

    Distances are those of CIE Lab after blending on mid grey at the default alpha. The first 20 candidates differ by at least 15
    (CIEDE2000) then. The first n colors do not depend on K. Black, white and mid grey are not among them.
    """
    grid = [
        tuple(color) for color in np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3).tolist()
    ]
    if not 0 <= num_classes <= len(grid):
        raise ValueError(f"num_classes is {num_classes}; expected 0..{len(grid)}")
    candidates = np.array([*_OWN, *grid])
    lab = _blended_lab(candidates)
    distance = np.linalg.norm(lab[:, None] - _blended_lab(np.array([*_RESERVED, *taken])), axis=-1).min(axis=1)
    palette: list[Color] = []
    for number in range(num_classes):
        best = int((distance[: len(_OWN)] if number < len(_OWN) else distance).argmax())
        red, green, blue = candidates[best].tolist()
        palette.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=-1))
    return tuple(palette)


def _blended_lab(rgb: np.ndarray) -> NDArray[np.float64]:
    """Blend (N, 3) RGB 0..255 on mid grey and convert it to (N, 3) CIE Lab."""
    blended = ((1 - DEFAULT_ALPHA) * _GREY + DEFAULT_ALPHA * rgb) / 255
    return np.asarray(cv2.cvtColor(blended.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0], np.float64)
