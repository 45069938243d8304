"""Laws of prediction files in VSPW's layout."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.files.video.label_video import LabelVideoWriter
from src.inference.evaluation.prediction_files import PredictionFolder, evaluate_predictions
from src.structures import Clip
from tests.inference.tiny import FakeClips


def write_labels(folder: Path, data: FakeClips) -> PredictionFolder:
    """Perfect predictions but for void, which becomes class 0."""
    predictions = PredictionFolder(folder, data)
    for clip, images in enumerate(data.images):
        for frame in range(len(images)):
            if data.clips[clip].labels[frame] is not None:
                label = data.read_label(clip, frame)
                predictions.write(clip, frame, torch.where(label == 255, 0, label))
    return predictions


def test_files_are_class_numbers_named_as_the_frames(tmp_path: Path) -> None:
    data = FakeClips((3,))
    predictions = write_labels(tmp_path, data)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "clip0/0.png", "clip0/1.png", "clip0/2.png",
    ]  # fmt: skip
    label = data.read_label(0, 1)
    with Image.open(tmp_path / "clip0" / "1.png") as image:
        assert (image.mode, image.size) == ("L", (56, 40))
        assert np.array_equal(np.asarray(image)[2:], label[2:])
    assert torch.equal(predictions.read(0, 1, (40, 56))[2:], label[2:])


def test_what_was_written_is_scored(tmp_path: Path) -> None:
    data = FakeClips((20, 18))
    reported: list[tuple[int, int]] = []
    result = evaluate_predictions(write_labels(tmp_path, data), lambda done, total: reported.append((done, total)))
    assert result.miou == result.wiou == 1.0 and result.strict_video_consistency == {8: 1.0, 16: 1.0}
    assert result.frames == 38 and reported == [(i, 38) for i in range(1, 39)]
    assert result.miou_by_offset == {} and math.isnan(result.temporal_consistency)
    assert result.key_times.frames == 0


def write_videos(folder: Path, data: FakeClips, frames: int | None = None) -> PredictionFolder:
    for clip, images in enumerate(data.images):
        path = folder / data.clips[clip].name / "labels.mkv"
        path.parent.mkdir(parents=True)
        with LabelVideoWriter(path, Fraction(25), data.num_classes) as video:
            for frame in range(len(images))[:frames]:
                label = data.read_label(clip, frame)
                video.write(torch.where(label == 255, 0, label).numpy())
    return PredictionFolder(folder, data)


def test_label_videos_are_scored_as_files(tmp_path: Path) -> None:
    data = FakeClips((9, 8))
    files, videos = write_labels(tmp_path / "files", data), write_videos(tmp_path / "videos", data)
    assert torch.equal(videos.read(1, 6, (40, 56)), files.read(1, 6, (40, 56)))
    assert torch.equal(videos.read(1, 2, (40, 56)), files.read(1, 2, (40, 56)))
    expected, found = evaluate_predictions(files), evaluate_predictions(videos)
    assert found.miou == expected.miou == 1.0 and found.strict_video_consistency[8] == 1.0


def test_a_video_of_fewer_frames_than_its_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.mkv has 3 frames; expected 5, all frames of the clip"):
        evaluate_predictions(write_videos(tmp_path, FakeClips((5,)), 3))


def test_temporal_consistency_is_optional(tmp_path: Path) -> None:
    result = evaluate_predictions(write_labels(tmp_path, FakeClips((4,), (64, 96))), temporal_consistency=True)
    assert result.temporal_consistency > 0.95


def test_an_unlabelled_frame_needs_no_file_and_ends_a_run(tmp_path: Path) -> None:
    result = evaluate_predictions(write_labels(tmp_path, FakeClips((21,), unlabelled=frozenset({9}))))
    assert result.frames == 20 and not (tmp_path / "clip0" / "9.png").exists()
    assert result.strict_video_consistency[8] == 1.0 and math.isnan(result.strict_video_consistency[16])


def test_a_missing_file_is_named_before_any_is_read(tmp_path: Path) -> None:
    data = FakeClips((3, 3))
    predictions = write_labels(tmp_path, data)
    (tmp_path / "clip0" / "0.png").write_bytes(b"not a PNG")
    for frame in (1, 2):
        (tmp_path / "clip1" / f"{frame}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"clip1/1\.png does not exist.*2 of 6 are missing"):
        evaluate_predictions(predictions)
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        evaluate_predictions(PredictionFolder(tmp_path / "nowhere", data))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((56, 40), np.uint8), r"1\.png is 56x40 \(HxW\); expected 40x56"),
        (np.full((40, 56), 4, np.uint8), r"1\.png: class 4 \(2240 pixels out of range\); expected 0\.\.3"),
        (np.full((40, 56), 255, np.uint8), r"1\.png: class 255"),
        (np.full((40, 56), 300, np.uint16), r"1\.png: class 300"),
        (np.zeros((40, 56, 3), np.uint8), r"1\.png has color channels"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    predictions = write_labels(tmp_path, FakeClips((3,)))
    Image.fromarray(pixels).save(tmp_path / "clip0" / "1.png")
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(predictions)


def test_a_file_that_is_no_png_is_named(tmp_path: Path) -> None:
    predictions = write_labels(tmp_path, FakeClips((3,)))
    whole = (tmp_path / "clip0" / "1.png").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        (tmp_path / "clip0" / "1.png").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"1\.png"):
            evaluate_predictions(predictions)


def test_a_wrong_class_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip0/0\.png: class 256 "):
        PredictionFolder(tmp_path, FakeClips((1,))).write(0, 0, torch.full((4, 4), 256))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../elsewhere", "/root", "a/../../b", "..", "", "a\\b"])
def test_no_clip_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    data = FakeClips((2,))
    data.clips = [Clip(name, data.clips[0].images, data.clips[0].labels)]
    with pytest.raises(ValueError, match="expected the name of a folder"):
        PredictionFolder(tmp_path, data)


def test_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    data = FakeClips((2,))
    data.clips = [Clip("a", (Path("left/1.jpg"), Path("right/1.jpg")), (None, None))]
    with pytest.raises(ValueError, match=r"two frames would be written to .*a/1\.png"):
        PredictionFolder(tmp_path, data)


def test_nothing_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labelled frame in its 1 clips"):
        evaluate_predictions(PredictionFolder(tmp_path, FakeClips((2,), unlabelled=frozenset({0, 1}))))
