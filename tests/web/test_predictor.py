import csv
import threading
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video.decoder import VideoFrames
from src.inference.video.prediction import FramePrediction
from src.inference.video.sources import ImageFrames
from src.measure.cost import frame_cost
from src.structures import Size
from src.web.predictor import ClipPredictor
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator

DATA = FakeClips((7,), (40, 56))


@pytest.fixture(scope="module")
def predictor() -> ClipPredictor:
    flows = {name: tiny_propagator(name) for name in ("query", "copy")}
    return ClipPredictor(flows, CLASSES, FakeClips.palette, short_side=48)


def source() -> ImageFrames:
    return ImageFrames.of_clip(DATA, "0")


@pytest.mark.parametrize(("mode", "carried"), [("online", 1), ("offline", 2)])
def test_predictions_equal_those_of_the_stream(predictor: ClipPredictor, tmp_path: Path, mode: Mode, carried: int) -> None:
    clip = predictor.predict(source(), FixedInterval(3), "query", tmp_path / "out", mode=mode)
    assert [(mark.frame, mark.reason) for mark in clip.keys] == [(0, "first"), (3, "interval"), (6, "interval")]
    assert [mark.seconds for mark in clip.keys] == pytest.approx([0, 0.2, 0.4])
    frames = list(VideoFrames(clip.video))
    assert len(frames) == 7 and frames[0].image.shape == (3, 40, 112) and clip.decode_errors == []
    stream = StreamingSegmentor(tiny_propagator("query"), FixedInterval(3), short_side=48, mode=mode)
    with clip.shares.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, stream.stream(DATA.images[0]), strict=True):
        assert float(row["car"]) == pytest.approx((expected == 3).float().mean().item(), abs=1e-6)
    # Costs at the network's input size.
    cost = frame_cost(tiny_propagator("query"), (48, 67), ["photometric"])
    assert clip.costs[0].gflops == cost.key + cost.post
    assert clip.costs[1].gflops == cost.frame(False, carried, "photometric")
    assert clip.costs[2].gflops == pytest.approx((3 * (cost.key + cost.post) + 4 * cost.frame(False, carried, "photometric")) / 7)
    assert "48x67" in clip.conditions
    assert clip.class_shares == pytest.approx([sum(float(row[name]) for row in rows) / 7 for name in CLASSES])


def test_flow_limit_and_stop_have_an_effect(predictor: ClipPredictor, tmp_path: Path) -> None:
    assert predictor.flows == ["query", "copy"]
    clip = predictor.predict(source(), FixedInterval(5), "copy", tmp_path / "a", max_frames=4)
    assert clip.progress.frames == 4 and clip.costs[1].frames == 3 and clip.part == "4 of 7 frames"
    stop = threading.Event()
    clip = predictor.predict(source(), FixedInterval(5), "copy", tmp_path / "b", stop=stop, progress=lambda done: stop.set())
    assert clip.progress.frames == 1 == sum(1 for _ in VideoFrames(clip.video))
    assert clip.part == "stopped after 1 frames of 7"
    with pytest.raises(ValueError, match="flow is 'raft'; expected one of query, copy"):
        predictor.predict(source(), FixedInterval(5), "raft", tmp_path / "c")
    stop.set()
    with pytest.raises(ValueError, match="stopped before the first frame"):
        predictor.predict(source(), FixedInterval(5), "copy", tmp_path / "d", stop=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_cost_of_a_scheduler_is_counted(predictor: ClipPredictor, tmp_path: Path) -> None:
    class Looking(FixedInterval):
        def signal_gflops(self, size: Size) -> float:
            assert size == (48, 67)
            return 2.0

    plain = predictor.predict(source(), FixedInterval(3), "copy", tmp_path / "a", max_frames=2)
    looking = predictor.predict(source(), Looking(3), "copy", tmp_path / "b", max_frames=2)
    for a, b in zip(plain.costs[:3], looking.costs[:3], strict=True):
        assert a.gflops is not None and b.gflops == pytest.approx(a.gflops + 2)


def test_label_maps_are_those_of_the_stream(predictor: ClipPredictor, tmp_path: Path) -> None:
    shown = list[FramePrediction]()
    clip = predictor.predict(source(), FixedInterval(3), "query", tmp_path / "out", show=shown.append)
    stream = StreamingSegmentor(tiny_propagator("query"), FixedInterval(3), short_side=48, mode="offline")
    with ZipFile(clip.labels) as archive:
        names = archive.namelist()
        assert names == ["classes.txt", *(f"{result.frame.name}.png" for result in shown)] and len(names) == 8
        assert archive.read("classes.txt").decode().splitlines()[3] == "3: car"
        for name, expected in zip(names[1:], stream.stream(DATA.images[0]), strict=True):
            assert np.array_equal(np.asarray(Image.open(archive.open(name))), expected.numpy())
    assert sorted(path.name for path in clip.video.parent.iterdir()) == [
        "class_share.csv", "finished.json", "labels.zip", "overlay.mp4"
    ]  # fmt: skip


def test_without_a_scheduler_every_frame_is_segmented_by_itself(tmp_path: Path) -> None:
    fused = ClipPredictor({"copy": tiny_propagator("copy")}, CLASSES, FakeClips.palette, 48, fuse_keys=True)
    clip = fused.predict(source(), None, "copy", tmp_path / "out", mode="online")
    cost = frame_cost(tiny_propagator("copy"), (48, 67))
    assert len(clip.keys) == 7 and clip.costs[0].name == "key frame" and clip.costs[0].gflops == cost.key + cost.post


def test_a_larger_budget_share_has_more_key_frames(predictor: ClipPredictor, tmp_path: Path) -> None:
    few, many = (
        predictor.predict(source(), Budget(percent=share), "copy", tmp_path / str(share), max_frames=12) for share in (30, 90)
    )
    assert 1 <= len(few.keys) < len(many.keys)
    with pytest.raises(ValueError, match=r"expected more than the .* of a propagated frame"):
        predictor.predict(source(), Budget(percent=0.1), "copy", tmp_path / "none")


def test_a_predictor_needs_a_flow() -> None:
    with pytest.raises(ValueError, match="there is no flow"):
        ClipPredictor({}, CLASSES, FakeClips.palette)
