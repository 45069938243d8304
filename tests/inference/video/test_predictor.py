"""Laws of the predictor: it writes the files of each source and reports the result."""

import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OutputOptions
from src.inference.video.prediction import PredictionProgress
from src.inference.video.predictor import VideoPrediction, VideoPredictor
from src.inference.video.sources import FrameSource, SourceInfo
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.inference.video.test_prediction import Images

PALETTE = tuple((40 * k, 30, 90) for k in range(len(CLASSES)))


@pytest.fixture
def predictor() -> VideoPredictor:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2))
    return VideoPredictor(stream, CLASSES, PALETTE, OutputOptions(labels=True), max_frames=4)


def predict(predictor: VideoPredictor, output: Path, received: tuple[int, ...] = ()) -> VideoPrediction:
    stop = threading.Event()
    return predictor.predict(Images(frames(6)), output, Console(quiet=True), (stop, list(received)))


def test_the_first_frames_of_each_source_are_written(predictor: VideoPredictor, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = predict(predictor, tmp_path / name)
        assert (done.frames, done.progress.key_frames, done.exit_code) == (4, 2, 0)
        assert {path.name for path in (tmp_path / name).iterdir()} == {"overlay.mp4", "class_share.csv", "labels"}
        assert len(list((tmp_path / name / "labels").iterdir())) == 4
    one, other = (sorted((tmp_path / name / "labels").iterdir()) for name in ("a", "b"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_frames_before_a_signal_are_written(predictor: VideoPredictor, tmp_path: Path) -> None:
    kept = predict(predictor, tmp_path / "kept", received=(signal.SIGTERM,))
    assert kept.exit_code == 128 + signal.SIGTERM and (tmp_path / "kept" / "overlay.mp4").is_file()


def test_a_scheduler_of_a_source_is_used_for_that_source_only(predictor: VideoPredictor, tmp_path: Path) -> None:
    sources: list[SourceInfo] = []

    stream = predictor.stream
    assert isinstance(stream, StreamingSegmentor)
    before = stream.scheduler

    def stream_for(source: FrameSource) -> StreamingSegmentor:
        sources.append(source.info)
        return stream.with_scheduler(FixedInterval(len(sources)))

    own = replace(predictor, stream_for=stream_for)
    assert [predict(own, tmp_path / name).progress.key_frames for name in ("a", "b")] == [4, 2] and len(sources) == 2
    assert stream.scheduler is before, "the shared segmentor keeps its scheduler"


def test_a_damaged_input_has_exit_code_1() -> None:
    assert VideoPrediction(PredictionProgress(0, 0, 0.0, 0.0), ["truncated"], None).exit_code == 1
