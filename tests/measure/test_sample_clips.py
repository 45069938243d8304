"""Laws of made-up files: they read like a real data set, and cost a decoder what photographs cost."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.data.pairs.transforms import PairTransform, RandomHorizontalFlip
from src.measure.sample_clips import sample_batch, sample_clips


def test_they_read_as_vspw_with_the_requested_classes(tmp_path: Path) -> None:
    dataset = sample_clips(tmp_path, (96, 128), num_classes=5, num_frames=2)
    assert [len(clip) for clip in dataset.clips] == [2] and dataset.num_classes == 5
    for frame in range(2):
        assert dataset.read_image(0, frame).shape == (3, 96, 128)
        assert set(dataset.read_label(0, frame).unique().tolist()) <= set(range(5))
    assert not torch.equal(dataset.read_image(0, 0), dataset.read_image(0, 1))


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        sample_clips(tmp_path / name, (48, 64), num_classes=3, num_frames=1, seed=seed)
    a, b, c = ((tmp_path / name / "data" / "sample" / "origin" / "00000000.jpg").read_bytes() for name in "abc")
    assert a == b != c


def test_files_have_the_size_of_photographs(tmp_path: Path) -> None:
    """About 1.5 bits a pixel at 4:2:0: noise would have four times as much, flat colors a tenth."""
    sample_clips(tmp_path, (480, 853), num_classes=124, num_frames=1)
    file = tmp_path / "data" / "sample" / "origin" / "00000000.jpg"
    with Image.open(file) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (480, 853, 3) and pixels.std() > 30
    assert 1.0 < 8 * file.stat().st_size / (480 * 853) < 2.2


def test_a_batch_is_a_training_batch(tmp_path: Path) -> None:
    batch = sample_batch(tmp_path, (48, 64), 5, PairTransform([RandomHorizontalFlip()]), batch_size=3)
    assert batch.key_image.shape == batch.nonkey_image.shape == (3, 3, 48, 64) and batch.key_image.is_contiguous()
    assert batch.nonkey_label.shape == (3, 48, 64) and batch.nonkey_label.dtype == torch.int64
    assert batch.flow is not None and batch.flow.shape == (3, 2, 48, 64) and batch.flow.isfinite().all()
    assert not batch.key_image.equal(batch.nonkey_image) and batch.sample_id.tolist() == [0, 1, 2]
