import math

import pytest
import torch

from src.inference.running_consistency import RunningConsistency
from src.metrics.video_consistency import VideoConsistency
from src.structures import IGNORE_INDEX


def clip(length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels that hold still but for some pixels, and predictions that differ from them here and there."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(length, 12, 16, generator=generator) < 0.03).long() + torch.arange(12)[:, None] // 6
    labels[:, :1] = IGNORE_INDEX
    maps = torch.where(torch.rand(labels.shape, generator=generator) < 0.03, 2, labels.clamp(max=1))
    return maps, labels


@pytest.mark.parametrize("length", [7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64, 71])
@pytest.mark.parametrize("window", [8, 16])
def test_frame_by_frame_is_the_whole_clip(length: int, window: int) -> None:
    clips = [clip(length, seed=1), clip(length + 3, seed=2)]
    whole, running = VideoConsistency(window), RunningConsistency(window)
    for maps, labels in clips:
        whole.update(maps, labels)
        for pair in zip(maps, labels, strict=True):
            running.add(*pair)
        running.end_clip()
    assert float(running.compute()) == pytest.approx(float(whole.compute()), abs=1e-12, nan_ok=True)
    assert math.isnan(running.compute()) == (length + 3 <= window)


def test_no_window_crosses_clips() -> None:
    running = RunningConsistency(4)
    for value in (0, 1, 0, 1):
        for _ in range(4):
            running.add(torch.full((2, 2), value), torch.full((2, 2), value))
        running.end_clip()
    # Clips of n frames have no window in the official protocol.
    assert math.isnan(running.compute())


def test_at_most_two_windows_are_held() -> None:
    running = RunningConsistency(4)
    for _ in range(100):
        running.add(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64))
        assert len(running._frames) < 8
