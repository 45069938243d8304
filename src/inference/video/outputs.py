"""Output files of a prediction: overlay video, class shares, label maps and flow images.

```
<folder>/overlay.mp4          with the sound of the source; of a single image overlay.png
<folder>/class_share.csv      one line per frame: time, key frame and reason, disoccluded share, share of every class
<folder>/labels/<frame>.png   class indices, on request
<folder>/flow/<frame>.png     motion from each non-key frame to its key frame and disoccluded pixels, on request
<folder>/...                  label maps in formats of other programs, on request: formats/exports.py
<folder>/confidence.mp4       share of the winning class in the scores, on request; of a single image confidence.png
<folder>/report.html          timelines, cost and thumbnails, on request
```
"""

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.files.results.result_marker import check_replaceable
from src.inference.video.formats.exported import ExportedFrame
from src.inference.video.formats.exports import Exports, export_names
from src.inference.video.overlay_writer import overlay_writer
from src.inference.video.prediction import FramePrediction
from src.inference.video.quality.frames import CONFIDENCE, CONFIDENCE_PICTURE, REPORT, FrameQuality
from src.inference.video.quality.outcome import VideoPrediction
from src.inference.video.quality.report import About
from src.inference.video.sources import SourceInfo
from src.inference.video.video_list import OVERLAY as OVERLAY
from src.structures import Size
from src.visualization.canvas import Tile, tile_grid
from src.visualization.flow_color import default_scale, flow_tile
from src.visualization.overlay import disocclusion_map
from src.visualization.overlay_painter import Legend, OverlayPainter
from src.visualization.palette import DEFAULT_ALPHA, Palette

log = logging.getLogger(__name__)

SHARES, LABELS, FLOW, PICTURE = "class_share.csv", "labels", "flow", "overlay.png"


def paint(painter: OverlayPainter, result: FramePrediction, shares: NDArray[np.float64], key_marks: bool) -> Tensor:
    """Return the picture of a frame, (3, H', W') uint8, with the reason of a key frame in its corner if ``key_marks``."""
    marked = key_marks and result.is_key
    note = f"key frame: {result.reason}" if marked and result.reason else "key frame" if marked else None
    return painter.paint(result.frame.image, result.semantic_map.numpy(), shares, note)


def save_labels(folder: Path, result: FramePrediction) -> None:
    """Write the class indices of a frame to ``<folder>/<frame>.png``, of 16 bits for more than 256 classes."""
    labels = result.semantic_map.numpy()
    # Level 1 is five times as fast as the default level, at twice the file size.
    picture = Image.fromarray(labels if labels.dtype == np.uint8 else labels.astype(np.uint16))
    picture.save(folder / f"{result.frame.name}.png", compress_level=1)


def earlier_files(folder: Path, note: Mapping[str, Any]) -> list[str] | None:
    """List the files of a prediction of an earlier release, whose marker has no list of them."""
    if not (isinstance(note.get("settings"), dict) and {"video", "frames"} <= note.keys() and {"errors", "faults"} & note.keys()):
        return None
    try:
        with (folder / SHARES).open(encoding="utf-8", newline="") as table:
            frames = [row["name"] for row in csv.DictReader(table)]
    except (OSError, ValueError, KeyError):
        frames = []
    found = [OVERLAY, SHARES, *(f"{name}/{frame}.png" for name in (LABELS, FLOW) for frame in frames)]
    return [name for name in found if (folder / name).is_file()]


@dataclass(frozen=True)
class OutputOptions:
    """Options of the output files, see ``conf/predict.yaml``.

    Attributes:
        exports: names of further formats of the label maps, of :data:`src.inference.video.formats.exports.FORMATS`.
        is_file: write only the overlay, to a file of the given name instead of a folder.
    """

    labels: bool = False
    flow_pictures: bool = False
    flow_scale: float | None = None
    legend: Legend = "side"
    key_marks: bool = False
    alpha: float = DEFAULT_ALPHA
    quality: int = 20
    source_beside: bool = False
    sound: bool = True
    exports: tuple[str, ...] = ()
    flicker: bool = False
    confidence: bool = False
    report: bool = False
    is_file: bool = False

    def names(self, is_picture: bool = False) -> tuple[str, ...]:
        """Return the names of the outputs in the output folder."""
        overlay = PICTURE if is_picture else OVERLAY
        confidence = CONFIDENCE_PICTURE if is_picture else CONFIDENCE
        requested = {LABELS: self.labels, FLOW: self.flow_pictures, confidence: self.confidence, REPORT: self.report}
        further = (name for name, wanted in requested.items() if wanted)
        return (overlay, SHARES, *further, *export_names(self.exports))


class VideoOutputs:
    """Writer of the results of one source, frame by frame, to a new folder or temporary file, such as that of a scratch.

    Use it as a context manager; results without :meth:`finish` are incomplete.

    Raises:
        FileExistsError: if the folder contains an output.
        OSError: if a file cannot be written.
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        info: SourceInfo,
        classes: Sequence[str],
        palette: Palette,
        options: OutputOptions,
        about: About | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.options = options
        self._names = () if options.is_file else options.names(info.is_picture)
        if self._names:
            check_replaceable(self.folder, self._names, overwrite=False)
        self._painter = OverlayPainter(classes, palette, options.alpha, options.legend, options.source_beside)
        self._classes = tuple(classes)
        self._info = info
        self._size: Size | None = None
        # One for all frames, so that equal motion has equal colors.
        self._flow_scale = options.flow_scale
        self.frames = 0
        overlay = self.folder / self._names[0] if self._names else self.folder
        self._video = overlay_writer(overlay, info, options.quality, options.sound, in_place=options.is_file)
        for name in self._names:
            (self.folder / name if "." not in name else self.folder).mkdir(parents=True, exist_ok=True)
        self._exports = Exports(self.folder, options.exports, info, classes, palette)
        self._quality = FrameQuality(
            self.folder, info, classes, palette, self._names, options.flicker, options.quality, about or About()
        )
        table = self.folder / SHARES if self._names else Path(os.devnull)
        self._table: TextIO = table.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._table, lineterminator="\n")
        columns = ["frame", "name", "seconds", "key", "reason", "disoccluded", *self._quality.columns, *self._classes]
        self._rows.writerow(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Both write what they still hold, which fails again on a full disk.
        with suppress(OSError) if kind is not None else nullcontext(), closing(self._table):
            try:
                self._video.abandon()
            finally:
                self._quality.abandon()
                self._exports.abandon()

    def write(self, result: FramePrediction) -> Tensor:
        """Append one frame, and return its picture in the overlay, (3, H', W') uint8.

        In the overlay, a frame is resized to the first frame's size; label maps keep their own size.
        """
        frame = result.frame
        shares = result.class_shares(len(self._classes))
        picture = paint(self._painter, result, shares, self.options.key_marks)
        shown = self._resize(picture)
        self._video.write(shown, frame.time, frame.duration, frame.stored)
        height, width = result.semantic_map.shape
        left = width if self.options.source_beside else 0
        measures = self._quality.add(result, shares, picture[:, :height, left : left + width])
        self._rows.writerow(
            [
                self.frames,
                frame.name,
                f"{float(frame.time):.6f}",
                int(result.is_key),
                result.reason or "",
                "" if result.disoccluded_share is None else f"{result.disoccluded_share:.6f}",
                *measures,
                *(f"{share:.6f}" for share in shares),
            ]
        )
        if self.options.labels:
            save_labels(self.folder / LABELS, result)
        if self.options.flow_pictures and result.flow is not None:
            self._save_flow(result, result.flow)
        self._exports.write(ExportedFrame(self.frames, frame.name, frame.time, frame.duration, result.semantic_map.numpy()))
        self.frames += 1
        return shown

    def write_report(self, outcome: VideoPrediction) -> None:
        """Write the report of at least one frame, if it is requested; call :meth:`finish` afterwards."""
        self._quality.write_report(outcome)

    def finish(self) -> list[Path]:
        """Complete the outputs.

        Returns:
            Written files, and folders of files.

        Raises:
            OSError: see the class.
            ValueError: if there was no frame.
        """
        self._video.close()
        self._quality.close()
        self._exports.close()
        self._table.close()
        return [self.folder / name for name in self._names] or [self.folder]

    def _resize(self, picture: Tensor) -> Tensor:
        size = (picture.shape[-2], picture.shape[-1])
        if self._size is None:
            self._size = size
        if size == self._size:
            return picture
        log.warning("%s: frame %d is %dx%d (HxW) in a video of %dx%d", self._info.name, self.frames, *size, *self._size)
        return F.interpolate(picture[None], size=self._size, mode="bilinear", antialias=True)[0]

    def _save_flow(self, result: FramePrediction, flow: Tensor) -> None:
        self._flow_scale = self._flow_scale or default_scale((flow.shape[-2], flow.shape[-1]))
        name = result.frame.name
        tiles = [flow_tile(name, flow, self._flow_scale)]
        if result.disoccluded is not None and result.disoccluded_share is not None:
            size = (flow.shape[-2], flow.shape[-1])
            image, disoccluded = (
                F.interpolate(part[None], size=size, mode="bilinear", antialias=True)[0]
                for part in (result.frame.image, result.disoccluded[None])
            )
            title = f"disoccluded since the key frame: {100 * result.disoccluded_share:.1f} %"
            tiles.append(Tile(title, disocclusion_map(image, disoccluded[0].clamp(0, 1))))
        picture = tile_grid([tiles])
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(self.folder / FLOW / f"{name}.png")
