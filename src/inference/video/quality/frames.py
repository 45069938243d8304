"""Flicker, confidence and report of one video, each on request."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.inference.video.overlay_writer import OverlayWriter, overlay_writer
from src.inference.video.prediction import FramePrediction
from src.inference.video.quality.flicker import FrameFlicker
from src.inference.video.quality.outcome import VideoPrediction
from src.inference.video.quality.report import About, VideoReport
from src.inference.video.sources import SourceInfo
from src.visualization.confidence import confidence_picture
from src.visualization.palette import Palette

REPORT, CONFIDENCE, CONFIDENCE_PICTURE = "report.html", "confidence.mp4", "confidence.png"


class FrameQuality:
    """Measures of each frame of one source, and the files made of them in the folder of its results.

    Args:
        folder: folder of the results.
        info: source.
        classes: K names.
        palette: K colors.
        names: names of the outputs, by which the report and the confidence map are requested.
        flicker: whether flicker is measured; a report always does.
        quality: constant rate factor of the confidence map.
        about: facts about the run, for the report.

    Attributes:
        columns: names of the measures in the table of frames.
    """

    def __init__(
        self,
        folder: Path,
        info: SourceInfo,
        classes: Sequence[str],
        palette: Palette,
        names: Sequence[str],
        flicker: bool,
        quality: int,
        about: About,
    ) -> None:
        self._folder, self._info, self._names = folder, info, tuple(names)
        self._flicker = FrameFlicker() if flicker or REPORT in names else None
        self._report = VideoReport(info, classes, palette, about) if REPORT in names else None
        self._video: OverlayWriter | None = None
        for name in (CONFIDENCE, CONFIDENCE_PICTURE):
            if name in names:
                self._video = overlay_writer(folder / name, info, quality, sound=False, in_place=False)
        self._size: tuple[int, int] | None = None
        measured = {"flicker": self._flicker, "confidence": self._video}
        self.columns = [name for name, measure in measured.items() if measure is not None]

    def add(self, result: FramePrediction, shares: NDArray[np.float64], overlay: Tensor) -> list[str]:
        """Add the next frame and return its cells of ``columns``, empty where a measure is unknown.

        Args:
            result: prediction, with its confidence if that is requested.
            shares: (K,) share of every class.
            overlay: (3, H, W) uint8, without legend.
        """
        flicker = None if self._flicker is None else self._flicker.add(result.frame.image, result.semantic_map)
        confidence = None
        if self._video is not None and result.confidence is not None:
            confidence = float(result.confidence.mean())
            self._write_confidence(self._video, result, result.confidence)
        if self._report is not None:
            self._report.add(result, shares, overlay, flicker, confidence)
        cells = {"flicker": flicker, "confidence": confidence}
        return ["" if cell is None else f"{cell:.6f}" for name, cell in cells.items() if name in self.columns]

    def write_report(self, outcome: VideoPrediction) -> None:
        """Write the report, if it is requested, of at least one frame."""
        if self._report is not None:
            files = [name for name in self._names if "." in name and name != REPORT]
            self._report.write(self._folder / REPORT, outcome, files)

    def close(self) -> None:
        """Complete the confidence map."""
        if self._video is not None:
            self._video.close()

    def abandon(self) -> None:
        """Delete an incomplete confidence map."""
        if self._video is not None:
            self._video.abandon()

    def _write_confidence(self, video: OverlayWriter, result: FramePrediction, confidence: Tensor) -> None:
        height, width = confidence.shape
        self._size = self._size or (width, height)
        if self._size != (width, height):
            confidence = torch.from_numpy(cv2.resize(confidence.numpy(), self._size, interpolation=cv2.INTER_LINEAR))
        frame = result.frame
        video.write(confidence_picture(confidence), frame.time, frame.duration, frame.stored)
