from pathlib import Path

import pytest
import torch

from tests.inference.results.test_model import model
from tests.inference.tiny import CLASSES, frames


def test_summary_and_access() -> None:
    result = model("copy").predict(frames(4), 2, fps=10)
    assert repr(result) == "VideoResult(frames in memory: 4 frames, 2 key frames, 0.40 s)"
    assert len(result) == 4 and result[-1].index == 3 and [frame.index for frame in result] == [0, 1, 2, 3]
    summary = result.summary()
    shares = torch.tensor([list(frame.class_shares.values()) for frame in result]).mean(0)
    assert list(summary["class_shares"]) == list(CLASSES)
    assert list(summary.pop("class_shares").values()) == pytest.approx(shares.tolist())
    assert summary.pop("network_ms") == pytest.approx(250 * sum(frame.seconds for frame in result))
    expected = {"frames": 4, "key_frames": 2, "duration": 0.4, "fps": 10.0, "size": (40, 56), "decode_errors": []}
    assert summary == {"source": "frames in memory"} | expected


def test_files_are_replaced_on_request_only(tmp_path: Path) -> None:
    result = model("copy").predict(frames(2))
    result.save_labels(tmp_path)
    with pytest.raises(FileExistsError, match=r"000000\.png exists; .* choose another folder"):
        result.save_labels(tmp_path)
    path = result.save_video(tmp_path / "a.mp4", quality=40)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="has results already"):
        result.save_video(path)
    assert result.save_video(path, overwrite=True, quality=10).read_bytes() != before
    (tmp_path / "own.mp4").write_text("mine")
    with pytest.raises(FileExistsError, match="was not written by a prediction"):
        result.save_video(tmp_path / "own.mp4", overwrite=True)
    with pytest.raises(ValueError, match=r"expected a folder or a name that ends in .mp4"):
        result.save_video(tmp_path / "a.avi")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["000000.png", "000001.png", "a.mp4", "own.mp4"]


def test_a_picture_is_saved_as_a_picture(tmp_path: Path) -> None:
    result = model("copy").predict(frames(1)[0])
    assert result.save_video(tmp_path / "a.png").read_bytes() == result[0].save(tmp_path / "b.png").read_bytes()
