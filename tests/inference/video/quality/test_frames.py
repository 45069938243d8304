"""Laws of measures of frames: each is there on request only, of the prediction's own label map."""

import threading
from pathlib import Path

import torch
from rich.console import Console

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OutputOptions
from src.inference.video.prediction import FramePrediction, FramePredictor, predict_video
from src.inference.video.predictor import VideoPredictor
from src.ops.masks import semantic_confidence
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.inference.video.test_prediction import Images

PALETTE = tuple((40 * k, 30, 90) for k in range(len(CLASSES)))


def test_the_confidence_is_that_of_the_scores() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2), mode="offline", fuse_keys=True)
    found: list[FramePrediction] = []
    predict_video(stream, Images(frames(3)), found.append, with_confidence=True)
    again = FramePredictor(stream, with_masks=True)(Images(frames(3)))
    for one, other in zip(found, again, strict=True):
        assert one.confidence is not None and other.confidence is None and other.masks is not None
        expected = semantic_confidence(other.masks, other.semantic_map.long()[None])[0]
        assert torch.equal(one.confidence, expected) and one.confidence.shape == one.semantic_map.shape
        assert one.confidence.min() >= 1 / len(CLASSES) and one.confidence.max() <= 1
        assert one.nbytes == other.nbytes + one.confidence.nbytes


def test_every_measure_is_in_the_report(tmp_path: Path) -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2))
    options = OutputOptions(confidence=True, report=True)
    predictor = VideoPredictor(stream, CLASSES, PALETTE, options, max_frames=4)
    done = predictor.predict(Images(frames(6)), tmp_path, Console(quiet=True), (threading.Event(), []))
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"overlay.mp4", "class_share.csv", "confidence.mp4", "report.html"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("mean flicker", "mean confidence", "Complete (exit code 0)", "2 (50%)", 'href="confidence.mp4"'):
        assert words in page
