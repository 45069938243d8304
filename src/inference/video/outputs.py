"""What a prediction leaves on disk: overlay video, label maps, shares of the classes, pictures of the flow; all or nothing.

```
<folder>/overlay.mp4
<folder>/class_share.csv    one line per frame: its time, whether and why it is a key frame, what is new, the share of every class
<folder>/labels/<frame>.png   class numbers, on request
<folder>/flow/<frame>.png     motion from each non-key frame to its key frame, and what is new since then, on request
```
"""

from __future__ import annotations

import csv
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.inference.video.prediction import LabelledFrame
from src.inference.video.sources import SourceInfo
from src.inference.video.writer import VideoWriter
from src.structures import Size
from src.visualization.canvas import Tile, tile_grid
from src.visualization.flow_color import flow_to_color, largest_motion
from src.visualization.overlay import disocclusion_map
from src.visualization.overlay_painter import OverlayPainter
from src.visualization.palette import Palette

log = logging.getLogger(__name__)

OVERLAY, SHARES, LABELS, FLOW = "overlay.mp4", "class_share.csv", "labels", "flow"


@dataclass(frozen=True)
class OutputOptions:
    """What is written.

    Attributes:
        labels: whether label maps are.
        flow_pictures: whether pictures of the flow are.
        legend: whether the overlay names the classes in view.
        alpha: share of the class colors in the overlay.
        quality: constant rate factor of the overlay, 0 (lossless) .. 51.
        overwrite: whether what is there is replaced.
        source_beside: whether the video shows the source, too, at the left of the overlay.
    """

    labels: bool = False
    flow_pictures: bool = False
    legend: bool = True
    alpha: float = 0.5
    quality: int = 20
    overwrite: bool = False
    source_beside: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What there will be in the output folder."""
        return (OVERLAY, SHARES, *((LABELS,) if self.labels else ()), *((FLOW,) if self.flow_pictures else ()))

    def refuse_existing(self, folder: Path) -> None:
        """Whether the output folder has room.

        Raises:
            FileExistsError: if something of that name is there and is not to be overwritten, or the folder is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file; expected the name of a folder")
        taken = [folder / name for name in self.names if (folder / name).exists()]
        if taken and not self.overwrite:
            raise FileExistsError(f"{taken[0]} exists already: name another output or set overwrite=true")


class VideoOutputs:
    """Writes the results of one source, frame by frame, to a hidden folder beside its own; :meth:`finish` puts them in place.

    Use it as a context manager: whatever is not finished is deleted.

    Args:
        folder: where to; made if missing. Other files in it stay.
        info: of the source.
        classes: K names.
        palette: K colors.
        options: what is written.

    Raises:
        FileExistsError: if something of that name is there and is not to be overwritten.
        ValueError: if an option is out of range.
    """

    def __init__(
        self, folder: str | Path, info: SourceInfo, classes: Sequence[str], palette: Palette, options: OutputOptions
    ) -> None:
        self.folder = Path(folder)
        self.options = options
        options.refuse_existing(self.folder)
        self._painter = OverlayPainter(classes, palette, options.alpha, options.legend)
        self._classes = tuple(classes)
        self._info = info
        target = self.folder.resolve()
        # A folder that is there may be a file system of its own (a mounted volume), and renaming does not cross these.
        home = target if target.is_dir() else target.parent
        home.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=home))
        self._keep = False
        self._size: Size | None = None
        self.frames = 0
        try:
            self._video = VideoWriter(self._scratch / OVERLAY, info.fps, options.quality, info.time_base, info.pixel_aspect)
            for name in options.names:
                if "." not in name:
                    (self._scratch / name).mkdir()
            self._table: TextIO = (self._scratch / SHARES).open("w", newline="", encoding="utf-8")
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        self._rows = csv.writer(self._table, lineterminator="\n")
        self._rows.writerow(["frame", "name", "seconds", "key", "reason", "new", *self._classes])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._table.close()
        self._video.abandon()
        if not self._keep:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def write(self, result: LabelledFrame) -> None:
        """Append one frame. One of another size than the first one is fitted into the overlay, and keeps its own elsewhere."""
        frame = result.frame
        found = result.semantic_map.numpy()
        shares = np.bincount(found.ravel(), minlength=len(self._classes)) / found.size
        picture = self._painter.paint(frame.image, found, shares, None if result.reason is None else f"key: {result.reason}")
        if self.options.source_beside:
            picture = torch.cat((frame.image, picture), dim=2)
        self._video.write(self._fitted(picture), frame.time, frame.duration)
        self._rows.writerow(
            [
                self.frames,
                frame.name,
                f"{float(frame.time):.6f}",
                int(result.is_key),
                result.reason or "",
                "" if result.new_share is None else f"{result.new_share:.6f}",
                *(f"{share:.6f}" for share in shares),
            ]
        )
        if self.options.labels:
            self._save_labels(found, frame.name)
        if self.options.flow_pictures and result.flow is not None:
            self._save_flow(result, result.flow)
        self.frames += 1

    def finish(self) -> list[Path]:
        """Complete the files and put them in place.

        Returns:
            What was written: files, and folders of files.

        Raises:
            ValueError: if there was no frame; nothing is left then.
            FileExistsError: see the class.
        """
        self._video.close()
        self._table.close()
        try:
            self.options.refuse_existing(self.folder)
        except FileExistsError as error:
            self._keep = True
            raise FileExistsError(f"{error}; it was not there before, so the results are kept in {self._scratch}") from error
        self.folder.mkdir(parents=True, exist_ok=True)
        old = self._scratch / "replaced"
        old.mkdir()
        for name in self.options.names:
            target = self.folder / name
            if target.exists() or target.is_symlink():
                target.rename(old / name)
            (self._scratch / name).rename(target)
        return [self.folder / name for name in self.options.names]

    def _fitted(self, picture: Tensor) -> Tensor:
        size = (picture.shape[-2], picture.shape[-1])
        if self._size is None:
            self._size = size
        if size == self._size:
            return picture
        log.warning("%s: frame %d is %dx%d (HxW) in a video of %dx%d", self._info.name, self.frames, *size, *self._size)
        fitted = F.interpolate(picture[None].float(), size=self._size, mode="bilinear", antialias=True)[0]
        return fitted.round().clamp(0, 255).byte()

    def _save_labels(self, found: NDArray[np.integer], name: str) -> None:
        kind = np.uint8 if len(self._classes) <= 256 else np.uint16
        # The fastest level: twice the size of the usual one, and five times as fast.
        Image.fromarray(found.astype(kind)).save(self._scratch / LABELS / f"{name}.png", compress_level=1)

    def _save_flow(self, result: LabelledFrame, flow: Tensor) -> None:
        # At least one pixel, so that the noise of a still scene stays pale.
        scale, name = max(largest_motion(flow), 1.0), result.frame.name
        tiles = [Tile(f"{name}: full color at {scale:.1f} px", flow_to_color(flow, scale))]
        if result.new is not None and result.new_share is not None:
            size = (flow.shape[-2], flow.shape[-1])
            shown, new = (
                F.interpolate(part[None].float(), size=size, mode="bilinear", antialias=True)[0]
                for part in (result.frame.image, result.new[None])
            )
            newness = disocclusion_map(shown.round().clamp(0, 255).byte(), new[0].clamp(0, 1))
            tiles.append(Tile(f"new since the key frame: {100 * result.new_share:.1f} %", newness))
        picture = tile_grid([tiles])
        Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(self._scratch / FLOW / f"{name}.png")
