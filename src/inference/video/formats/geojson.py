"""Polygons of label maps as GeoJSON, in pixels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.inference.video.formats.exported import ExportedFrame
from src.inference.video.formats.json_stream import JsonStream
from src.ops.polygons import Polygon, Ring, polygons

_COORDINATES = "pixels of the frame, not degrees: x to the right, y down, (0, 0) at the top left corner of the top left pixel"


class GeoJson:
    """Writer of a feature collection with one polygon per region of a class in a frame, along the edges of its pixels."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._file = JsonStream(path, {"type": "FeatureCollection", "coordinate_system": _COORDINATES}, ("features",))

    def write(self, frame: ExportedFrame) -> None:
        """Append a frame."""
        for label, regions in polygons(frame.labels).items():
            if label >= len(self._classes):  # pixels without a class
                continue
            properties = {
                "frame": frame.number,
                "name": frame.name,
                "seconds": round(float(frame.time), 6),
                "class_id": label,
                "class": self._classes[label],
            }
            for region in regions:
                geometry = {"type": "Polygon", "coordinates": _coordinates(region)}
                self._file.add("features", {"type": "Feature", "properties": properties, "geometry": geometry})

    def close(self) -> None:
        """Complete the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file."""
        self._file.abandon()


def _coordinates(region: Polygon) -> list[list[list[int]]]:
    """Return closed rings, the exterior first, counterclockwise as GeoJSON counts, with y as if it pointed up."""
    return [_closed(ring) for ring in (region.exterior, *region.holes)]


def _closed(ring: Ring) -> list[list[int]]:
    points: list[list[int]] = np.concatenate([ring, ring[:1]]).tolist()
    return points
