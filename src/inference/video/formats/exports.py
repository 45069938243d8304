"""Formats for other programs that a prediction writes on request, by their names."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.files.video.label_video import LABEL_VIDEO
from src.inference.video.formats.coco import CocoPanoptic, CocoSemantic
from src.inference.video.formats.cvat import CvatXml
from src.inference.video.formats.detections import DetectionsCsv
from src.inference.video.formats.exported import Export, ExportedFrame
from src.inference.video.formats.geojson import GeoJson
from src.inference.video.formats.rasters import MAX_PALETTE, LabelVideo, PalettePngs
from src.inference.video.sources import SourceInfo
from src.visualization.palette import Palette


class _Format(NamedTuple):
    """Names of the outputs, files and then folders of files, and the optional package that writes them."""

    names: tuple[str, ...]
    package: str | None = None


FORMATS = {
    "palette": _Format(("palette",)),
    "label_video": _Format((LABEL_VIDEO,)),
    "coco": _Format(("coco.json",), "pycocotools"),
    "panoptic": _Format(("panoptic.json", "panoptic")),
    "geojson": _Format(("polygons.geojson",)),
    "cvat": _Format(("cvat.xml",)),
    "detections": _Format(("detections.csv",), "supervision"),
}
"""Choices of ``exports``."""


def export_names(exports: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the outputs in the output folder."""
    return tuple(name for export in exports for name in FORMATS[export].names)


def check_installed(exports: Sequence[str]) -> None:
    """Raise ``ModuleNotFoundError`` if a format needs a package that is not installed."""
    for export in exports:
        package = FORMATS[export].package
        if package is not None and importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{package} is not installed; exports=[{export}] needs it: pip install -r requirements-exports.txt",
                name=package,
            )


def check_classes(exports: Sequence[str], num_classes: int) -> None:
    """Raise ``ValueError`` if a format cannot hold the classes."""
    if "palette" in exports and num_classes > MAX_PALETTE:
        raise ValueError(
            f"exports has palette, and the model has {num_classes} classes; expected at most {MAX_PALETTE}; leave palette out"
        )


class Exports:
    """Writer of the requested formats to a folder.

    Raises:
        OSError: if a file cannot be written.
    """

    def __init__(self, folder: Path, exports: Sequence[str], info: SourceInfo, classes: Sequence[str], palette: Palette) -> None:
        self._writers = [_writer(export, folder, info, classes, palette) for export in exports]

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame to every format."""
        for writer in self._writers:
            writer.write(frame)

    def close(self) -> None:
        """Complete the files, of at least one frame."""
        for writer in self._writers:
            writer.close()

    def abandon(self) -> None:
        """Close the files; incomplete ones are of no use."""
        for writer in self._writers:
            writer.abandon()


def _writer(export: str, folder: Path, info: SourceInfo, classes: Sequence[str], palette: Palette) -> Export:
    paths = [folder / name for name in FORMATS[export].names]
    match export:
        case "palette":
            return PalettePngs(paths[0], palette)
        case "label_video":
            return LabelVideo(paths[0], info, len(classes))
        case "coco":
            return CocoSemantic(paths[0], classes, palette)
        case "panoptic":
            return CocoPanoptic(paths[0], paths[1], classes, palette)
        case "geojson":
            return GeoJson(paths[0], classes)
        case "cvat":
            return CvatXml(paths[0], classes, palette)
        case "detections":
            return DetectionsCsv(paths[0], classes)
    raise ValueError(f"export is {export}; expected one of {', '.join(FORMATS)}")
