"""Result of a frame: its label map, and pictures, scores and shares that are computed on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.files.results.owned_file import check_file
from src.inference.video.formats.detections import detections
from src.inference.video.outputs import paint
from src.inference.video.overlay_writer import PictureWriter
from src.inference.video.prediction import FramePrediction
from src.ops.masks import semantic_confidence, semantic_scores
from src.ops.polygons import Polygon, polygons
from src.structures import IGNORE_INDEX, KeyReason, MaskPrediction
from src.visualization.overlay_painter import Legend, OverlayPainter
from src.visualization.palette import DEFAULT_ALPHA, Color

if TYPE_CHECKING:
    from src.inference.video.formats.detections import Detections

_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Naming:
    """Names and colors of the classes of a model.

    Attributes:
        classes: K names.
        palette: K colors.
    """

    classes: tuple[str, ...]
    palette: tuple[Color, ...]


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Labelled frame of a video. Tensors are on the CPU; H and W are those of the frame as decoded, upright.

    Attributes:
        index: number of the frame, from 0.
        prediction: prediction for the frame, from which everything here is computed.
        naming: names and colors of the classes.
    """

    index: int
    prediction: FramePrediction = field(repr=False)
    naming: Naming = field(repr=False)

    def __repr__(self) -> str:
        height, width = self.image.shape[-2:]
        kind = f"key frame: {self.reason}" if self.is_key else "propagated"
        return f"FrameResult(index={self.index}, time={self.time:.3f} s, {height}x{width} (HxW), {kind})"

    @property
    def image(self) -> Tensor:
        """(3, H, W) uint8 RGB, 0..255: the frame."""
        return self.prediction.frame.image

    @property
    def name(self) -> str:
        """Name of the frame in its source: that of its file, or its number in six digits."""
        return self.prediction.frame.name

    @property
    def time(self) -> float:
        """Seconds since the first frame."""
        return float(self.prediction.frame.time)

    @property
    def semantic_map(self) -> Tensor:
        """(H, W) int64, class of each pixel, 0..K-1. A model of one class has 255 where its score is below 0.5."""
        return torch.from_numpy(self.prediction.semantic_map.numpy()).long()

    @property
    def is_key(self) -> bool:
        """True if the segmentor ran on the frame; the masks of other frames are propagated."""
        return self.prediction.is_key

    @property
    def reason(self) -> KeyReason | None:
        """Reason for a key frame: first, interval, cut, change or max_interval; ``None`` for other frames."""
        return self.prediction.reason

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the networks and their post-processing."""
        return self.prediction.seconds

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names."""
        return self.naming.classes

    @property
    def palette(self) -> tuple[Color, ...]:
        """K colors of the classes, RGB, 0..255 each."""
        return self.naming.palette

    @cached_property
    def class_shares(self) -> dict[str, float]:
        """Share of the pixels of every class, 0..1, by class name."""
        return dict(zip(self.classes, self._shares().tolist(), strict=True))

    @cached_property
    def confidence(self) -> Tensor:
        """(H, W) float32, 0..1: share of the label's score in the sum of all class scores, computed on first use.

        Of a dense model it is the softmax of the label's logit. Low values mark borders, doubtful classes and, in propagated
        frames, places that the key frames do not show.

        Raises:
            ValueError: see :meth:`scores`.
        """
        masks = self._masks()
        with torch.no_grad():
            return semantic_confidence(masks, self.semantic_map.to(masks.mask_logits.device)[None])[0].cpu()

    def scores(self) -> Tensor:
        """Compute the class scores, (K, H, W) float32 on the network's device; they are not stored.

        Scores are class-weighted sums of mask probabilities, at least 0; of a dense model they are its logits.

        Raises:
            ValueError: in a ``VideoResult`` without ``keep_scores``.
        """
        masks = self._masks()
        height, width = self.image.shape[-2:]
        with torch.no_grad():
            return semantic_scores(masks, (height, width))[0]

    def polygons(self) -> dict[str, list[Polygon]]:
        """Trace the regions of every class exactly.

        Returns:
            Polygons by class name: an exterior and holes, rings (N, 2) int32 of corners (x, y) in pixels.
        """
        found = polygons(self.prediction.semantic_map.numpy(), ignore=IGNORE_INDEX if len(self.classes) == 1 else None)
        return {self.classes[k]: regions for k, regions in found.items()}

    def detections(self, masks: bool = True) -> Detections:
        """Return the regions of every class as detections of the package supervision, to filter, track or annotate them.

        Args:
            masks: whether the detections have their masks, (N, H, W) bool.

        Returns:
            N ``supervision.Detections``: boxes in pixels, ``class_id``, and in ``data`` ``class_name`` and number of ``pixels``.

        Raises:
            ModuleNotFoundError: if supervision is not installed.
        """
        return detections(self.prediction.semantic_map.numpy(), self.classes, masks)

    def plot(
        self, alpha: float = DEFAULT_ALPHA, legend: Legend = "side", key_marks: bool = False, source_beside: bool = False
    ) -> NDArray[np.uint8]:
        """Paint the overlay of ``src.predict``: class colors, contours and class names.

        Args:
            alpha: weight of the class colors, 0..1.
            legend: place of the class names: ``side``, ``bottom`` or ``off``.
            key_marks: whether a key frame is marked in the corner, with its reason.
            source_beside: whether the frame is shown to the left.

        Returns:
            (H + height of the legend, W or 2 W + width of the legend, 3) uint8 RGB.
        """
        painter = OverlayPainter(self.classes, self.palette, alpha, legend, source_beside)
        return paint(painter, self.prediction, self._shares(), key_marks).permute(1, 2, 0).numpy()

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write :meth:`plot` to a PNG or JPEG file, as ``src.predict`` writes that of an image.

        Raises:
            FileExistsError: if the file exists; with ``overwrite``, if this project did not write it.
            OSError: if the file cannot be written.
            ValueError: if the name has another suffix.
        """
        path = Path(path)
        if path.suffix.lower() not in _PICTURES:
            raise ValueError(f"path is {path}; expected a name that ends in {', '.join(_PICTURES)}")
        check_file(path, overwrite)
        PictureWriter(path).write(torch.from_numpy(self.plot()).permute(2, 0, 1), None, None, None)
        return path

    def _shares(self) -> NDArray[np.float64]:
        return self.prediction.class_shares(len(self.classes))

    def _masks(self) -> MaskPrediction:
        if self.prediction.masks is None:
            raise ValueError(
                f"frame {self.index} has no scores, which a VideoResult leaves out; expected keep_scores=True, or stream=True"
            )
        return self.prediction.masks
