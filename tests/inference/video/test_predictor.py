"""One loaded model, one source after another: files of each, and how each ended."""

import signal
import threading
from pathlib import Path

import pytest
from rich.console import Console

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.outputs import OutputOptions
from src.inference.video.prediction import PredictionProgress
from src.inference.video.predictor import Labeller, Prediction
from src.inference.video.sources import SourceInfo
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.inference.video.test_prediction import Images

PALETTE = tuple((40 * k, 30, 90) for k in range(len(CLASSES)))


@pytest.fixture
def labeller() -> Labeller:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2))
    return Labeller(stream, CLASSES, PALETTE, OutputOptions(labels=True), max_frames=4)


def label(labeller: Labeller, output: Path, partial: bool = True, received: tuple[int, ...] = ()) -> Prediction:
    stop = threading.Event()
    return labeller.label(Images(frames(6)), output, Console(quiet=True), (stop, list(received)), partial)


def test_each_source_gets_the_files_of_its_first_frames(labeller: Labeller, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = label(labeller, tmp_path / name)
        assert (done.frames, done.progress.key_frames, done.exit_code) == (4, 2, 0)
        assert {path.name for path in done.written} == {"overlay.mp4", "class_share.csv", "labels"}
        assert len(list((tmp_path / name / "labels").iterdir())) == 4
    one, other = (sorted((tmp_path / name / "labels").iterdir()) for name in ("a", "b"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_what_a_signal_cut_short_is_written_where_it_may_be(labeller: Labeller, tmp_path: Path) -> None:
    kept = label(labeller, tmp_path / "kept", partial=True, received=(signal.SIGTERM,))
    assert kept.exit_code == 128 + signal.SIGTERM and (tmp_path / "kept" / "overlay.mp4").is_file()
    dropped = label(labeller, tmp_path / "dropped", partial=False, received=(signal.SIGTERM,))
    assert dropped.written == [] and not (tmp_path / "dropped" / "overlay.mp4").exists()


def test_a_scheduler_made_for_a_source_is_the_one_that_runs(labeller: Labeller, tmp_path: Path) -> None:
    asked: list[SourceInfo] = []
    own = Labeller(
        labeller.stream, CLASSES, PALETTE, labeller.options, 4, lambda source: asked.append(source.info) or FixedInterval(1)
    )
    assert label(own, tmp_path / "a").progress.key_frames == 4 and len(asked) == 1


def test_the_scheduler_of_one_source_does_not_reach_the_next(labeller: Labeller, tmp_path: Path) -> None:
    own = Labeller(labeller.stream, CLASSES, PALETTE, labeller.options, 4, lambda source: FixedInterval(1))
    assert label(own, tmp_path / "own").progress.key_frames == 4
    assert label(labeller, tmp_path / "shared").progress.key_frames == 2


def test_a_broken_input_is_exit_code_1() -> None:
    assert Prediction(PredictionProgress(0, 0, 0.0, 0.0), ["cut off"], None, []).exit_code == 1
