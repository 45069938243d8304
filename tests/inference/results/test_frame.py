from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.inference.results.frame import FrameResult, Naming
from src.inference.video.prediction import FramePrediction
from src.inference.video.sources import Frame
from src.structures import IGNORE_INDEX
from src.visualization.overlay import overlay
from tests.inference.tiny import CLASSES, FakeClips, frames

IMAGE = frames(1)[0]


def result(labels: torch.Tensor, classes: tuple[str, ...] = CLASSES) -> FrameResult:
    predicted = FramePrediction(Frame(IMAGE, "000003", Fraction(1, 5), Fraction(1, 25)), labels.byte(), True, None, "cut", 0.01)
    return FrameResult(3, predicted, Naming(classes, FakeClips.palette[: len(classes)]))


def halves(left: int, right: int) -> torch.Tensor:
    labels = torch.full((40, 56), left)
    labels[:, 28:] = right
    return labels


def test_fields() -> None:
    frame = result(halves(1, 3))
    assert repr(frame) == "FrameResult(index=3, time=0.200 s, 40x56 (HxW), key frame: cut)"
    assert torch.equal(frame.semantic_map, halves(1, 3)) and frame.semantic_map.dtype == torch.int64
    assert frame.class_shares == {"sky": 0.0, "road": 0.5, "tree": 0.0, "car": 0.5}
    assert (frame.index, frame.name, frame.time, frame.is_key, frame.reason, frame.seconds) == (
        3,
        "000003",
        0.2,
        True,
        "cut",
        0.01,
    )
    polygons = frame.polygons()
    assert list(polygons) == ["road", "car"]
    assert sorted(map(tuple, polygons["car"][0].exterior.tolist())) == [(28, 0), (28, 40), (56, 0), (56, 40)]


def test_one_class_has_a_background_without_polygons() -> None:
    frame = result(halves(0, IGNORE_INDEX), ("lane",))
    assert frame.class_shares == {"lane": 0.5} and list(frame.polygons()) == ["lane"]


def test_regions_are_detections() -> None:
    pytest.importorskip("supervision")
    found = result(halves(1, 3)).detections()
    assert found.data["class_name"].tolist() == ["road", "car"] and found.xyxy.tolist() == [[0, 0, 28, 40], [28, 0, 56, 40]]
    assert found.mask is not None and found.mask.sum(axis=(1, 2)).tolist() == [1120, 1120]
    assert len(result(halves(0, IGNORE_INDEX), ("lane",)).detections(masks=False)) == 1


def test_a_plot_is_the_overlay_and_is_saved_once(tmp_path: Path) -> None:
    frame = result(halves(0, 2))
    plain = frame.plot(legend="off")
    expected = overlay(IMAGE, halves(0, 2), FakeClips.palette).permute(1, 2, 0).numpy()
    assert np.array_equal(plain, expected) and frame.plot(source_beside=True, legend="off").shape == (40, 112, 3)
    assert not np.array_equal(frame.plot(legend="off", key_marks=True), plain)
    path = frame.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(path)), frame.plot())
    with pytest.raises(FileExistsError, match="has results already"):
        frame.save(path)
    frame.save(path, overwrite=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "own.png")
    with pytest.raises(FileExistsError, match="was not written by a prediction"):
        frame.save(tmp_path / "own.png", overwrite=True)
    with pytest.raises(ValueError, match=r"path is .*a.tiff; expected a name that ends in .png, .jpg, .jpeg"):
        frame.save(tmp_path / "a.tiff")
