import csv
import inspect
import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor

from src import read_video
from src.command_line.arguments import quote_paths
from src.commands.predict import predict
from src.inference.results.model import VideoModel
from src.inference.results.streams import video_stream
from src.inference.scheduling.adaptive import Adaptive
from src.ops.masks import best_class
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import MPEG4, cut, make_video

CONF = Path(__file__).resolve().parents[3] / "conf"
METADATA = {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32}


def model(flow: str = "query") -> VideoModel:
    tiny = tiny_propagator(flow)
    return VideoModel(tiny.segmentor, tiny.flow, metadata=METADATA)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tiny_propagator("query"), tmp_path_factory.mktemp("models") / "model", METADATA)


def decoded(path: Path) -> Tensor:
    return torch.stack([torch.as_tensor(frame).float() for frame in read_video(path)[0]])


@pytest.mark.parametrize("given", [{"key_interval": 3}, {"mode": "online", "fuse_keys": False, "flow": "dis"}])
def test_results_equal_the_files_of_src_predict_bit_for_bit(folder: Path, tmp_path: Path, given: dict[str, object]) -> None:
    video = make_video(tmp_path / "a.mp4", frames(7, (48, 64)), sound=True)
    options = [f"{name}={value}" for name, value in given.items()]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        arguments = [
            f"input={video}",
            f"checkpoint={folder}",
            f"output={tmp_path / 'out'}",
            "device=cpu",
            "labels=true",
            *options,
        ]
        predict(compose("predict", quote_paths(arguments)))
    result = model().predict(video, **given)  # type: ignore[arg-type]
    own, other = decoded(result.save_video(tmp_path / "own.mp4")), decoded(tmp_path / "out" / "overlay.mp4")
    # Encoded files of the same pictures may differ by some bytes.
    assert own.shape == other.shape and float((own - other).abs().mean()) < 1.0
    written = result.save_labels(tmp_path / "own")
    assert [path.name for path in written] == sorted(path.name for path in (tmp_path / "out" / "labels").iterdir())
    for path, frame in zip(written, result, strict=True):
        assert path.read_bytes() == (tmp_path / "out" / "labels" / path.name).read_bytes()
        assert torch.equal(frame.semantic_map, torch.from_numpy(np.array(Image.open(path))).long())
    with (tmp_path / "out" / "class_share.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = result.to_dataframe()
    assert list(table.columns) == list(rows[0])
    for (_, found), row in zip(table.iterrows(), rows, strict=True):
        assert [found["name"], str(int(found["key"])), found["reason"]] == [row["name"], row["key"], row["reason"]]
        assert [f"{found[name]:.6f}" for name in ("seconds", *CLASSES)] == [row[name] for name in ("seconds", *CLASSES)]


def test_a_stream_yields_the_frames_of_the_whole_video() -> None:
    images = frames(5)
    whole = model().predict(images, 2)
    streamed = list(model().predict(iter(images), 2, stream=True))
    assert [frame.index for frame in streamed] == list(range(5)) and [frame.time for frame in streamed] == [
        0,
        0.04,
        0.08,
        0.12,
        0.16,
    ]
    for one, other, image in zip(whole, streamed, images, strict=True):
        assert torch.equal(one.semantic_map, other.semantic_map) and torch.equal(other.image, image)
        assert (one.is_key, one.reason, one.class_shares) == (other.is_key, other.reason, other.class_shares)
    assert [frame.reason for frame in whole] == ["first", None, "interval", None, "interval"]


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_no_frame_stays_alive_while_a_stream_is_read(mode: str) -> None:
    alive: list[weakref.ref[object]] = []

    def pictures() -> Iterator[Tensor]:
        yield from (image.clone() for image in frames(60))

    most = 0
    for frame in model("copy").predict(pictures(), 4, mode=mode, stream=True):  # type: ignore[call-overload]
        frame.confidence  # noqa: B018
        alive += [weakref.ref(frame), weakref.ref(frame.image), weakref.ref(frame.prediction.masks)]
        most = max(most, sum(reference() is not None for reference in alive))
    # The frame at hand, its image, and the masks of one interval, which are computed together.
    assert len(alive) == 180 and most <= 6


def test_a_stream_that_is_left_closes_its_source() -> None:
    class Counted:
        closed = False

        def __iter__(self) -> Iterator[Tensor]:
            try:
                while True:
                    yield frames(1)[0]
            finally:
                self.closed = True

    source = Counted()
    stream = model("copy").predict(source, stream=True)
    assert next(stream).index == 0
    stream.close()  # type: ignore[attr-defined]
    assert source.closed


def test_scores_and_confidence_are_those_of_the_labels() -> None:
    for frame in model("copy").predict(frames(3), stream=True, short_side=None):
        scores = frame.scores()
        assert scores.shape == (4, 40, 56) and scores.dtype == torch.float32
        # Label maps may differ from the best score by rounding.
        assert (best_class(scores[None])[0] == frame.semantic_map).float().mean() > 0.99
        expected = (scores / scores.sum(0)).gather(0, frame.semantic_map[None])[0]
        assert frame.confidence.dtype == torch.float32 and torch.allclose(frame.confidence, expected)
    kept, left_out = (model("copy").predict(frames(2), keep_scores=keep)[1] for keep in (True, False))
    *_, streamed = model("copy").predict(frames(2), stream=True)
    assert torch.equal(kept.confidence, streamed.confidence)
    with pytest.raises(ValueError, match=r"frame 1 has no scores, .*expected keep_scores=True, or stream=True"):
        left_out.scores()


def test_the_scheduler_and_the_number_of_frames_can_be_chosen() -> None:
    clip = [*frames(3, (96, 128)), *frames(3, (96, 128), seed=3)]
    result = model("copy").predict(clip, scheduler=Adaptive(8), max_frames=4)
    assert [frame.reason for frame in result] == ["first", None, None, "cut"]


def test_defaults_are_those_of_the_command() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("predict", ["checkpoint=x", "input=y"])
    given = dict(inspect.signature(video_stream).parameters) | dict(inspect.signature(VideoModel.predict).parameters)
    common = {name: one.default for name, one in given.items() if name in cfg and one.default is not inspect.Parameter.empty}
    del common["scheduler"]
    assert len(common) == 16 and common == {name: cfg[name] for name in common}


def test_sources_without_an_end_or_a_frame_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Camera:
        def __init__(self, index: int) -> None: ...
        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, name: int) -> float:
            return 30.0

        def release(self) -> None: ...

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(ValueError, match="source is camera 3, which has no end; expected stream=True, or max_frames"):
        model("copy").predict(3)
    with pytest.raises(ValueError, match="max_frames is 0; expected at least 1"):
        model("copy").predict(frames(2), max_frames=0)
    with pytest.raises(ValueError, match="frames in memory has no frame; expected at least one"):
        model("copy").predict(iter(()))


def test_a_damaged_video_yields_its_frames_and_its_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make_video(tmp_path / "a.avi", frames(9, (48, 64)), codec=MPEG4)
    result = model("copy").predict(cut(whole, tmp_path / "b.avi", 0.8))
    assert 0 < len(result) < 9 and result.decode_errors and result.summary()["decode_errors"] == result.decode_errors
    assert result.decode_errors[0] in caplog.text
