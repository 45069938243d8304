"""Laws of video consistency."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from src.metrics.video_consistency import VideoConsistency
from src.structures import IGNORE_INDEX

VOID = IGNORE_INDEX


def score(window: int, prediction: Tensor, label: Tensor, protocol: str = "official") -> float:
    metric = VideoConsistency(window, protocol)
    metric.update(prediction, label)
    return metric.compute().item()


def brute_force(window: int, clips: list[tuple[Tensor, Tensor]], protocol: str) -> float:
    """The definition, window by window."""
    scores = []
    for prediction, label in clips:
        for first in range(len(label) - window + (protocol == "strict")):
            p, g = prediction[first : first + window], label[first : first + window]
            steady = (g == g[:1]).all(0)
            held = (p == p[:1]).all(0)
            if protocol == "strict":
                steady &= g[0] != VOID
                held = (p == g).all(0)
            if steady.any():
                scores.append((steady & held).sum().item() / steady.sum().item())
    return sum(scores) / len(scores)


def column(*values: int) -> Tensor:
    """A clip of one pixel."""
    return torch.tensor(values).view(-1, 1, 1)


def test_hand_computed_case() -> None:
    """Four frames of two pixels, windows of two: frames 0-1 and 1-2; the last window, 2-3, is missed."""
    label = torch.tensor([[[0, 1]], [[0, 1]], [[0, 2]], [[0, 2]]])
    prediction = torch.tensor([[[0, 1]], [[0, 0]], [[0, 0]], [[1, 0]]])
    assert score(2, prediction, label) == pytest.approx((1 / 2 + 1 / 1) / 2)
    # Strict: frames 0-1: pixel 0 of two; 1-2: pixel 0 of one; 2-3: none of two.
    assert score(2, prediction, label, "strict") == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_a_constant_wrong_map_is_consistent_but_not_strictly() -> None:
    label, prediction = torch.zeros(5, 3, 3).long(), torch.ones(5, 3, 3).long()
    assert score(3, prediction, label) == 1
    assert score(3, prediction, label, "strict") == 0


def test_void_is_a_label_officially_and_left_out_strictly() -> None:
    label, prediction = column(VOID, VOID, VOID, VOID), column(0, 1, 0, 1)
    assert score(2, prediction, label) == 0
    assert math.isnan(score(2, prediction, label, "strict"))


@pytest.mark.parametrize("protocol", ["official", "strict"])
@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_equals_the_definition(window: int, protocol: str) -> None:
    clips = []
    for length in (9, 12, 20):
        label = torch.randint(0, 3, (1, 6, 7)).repeat(length, 1, 1)
        flicker = torch.rand(2, length, 6, 7) < 0.04
        prediction = torch.where(flicker[0], 2, label)
        label = torch.where(flicker[1], VOID, label)
        clips.append((prediction, label))
    metric = VideoConsistency(window, protocol)
    for prediction, label in clips:
        metric.update(prediction, label)
    assert metric.compute().item() == pytest.approx(brute_force(window, clips, protocol), abs=1e-12)


def test_clips_do_not_see_one_another() -> None:
    first, second = torch.randint(0, 2, (2, 2, 6, 4, 4))
    together, one, two = VideoConsistency(2), VideoConsistency(2), VideoConsistency(2)
    together.update(*first)
    together.update(*second)
    one.update(*first)
    two.update(*second)
    total = one.total + two.total
    assert together.compute().item() == pytest.approx((total / (one.windows + two.windows)).item(), abs=1e-12)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_short_clips_are_left_out() -> None:
    label = torch.zeros(4, 2, 2).long()
    assert math.isnan(VideoConsistency(4).compute().item())
    assert math.isnan(score(4, label, label))
    assert score(4, label, label, "strict") == 1
    assert math.isnan(score(5, label, label, "strict"))
    assert score(3, label, label) == 1


@pytest.mark.parametrize("window", [8, 16])
def test_vspw_goldens(goldens: Path, window: int) -> None:
    arrays = np.load(goldens / "metrics" / "vspw_metrics.npz")
    expected = json.loads((goldens / "metrics" / "vspw_metrics.json").read_text())[f"mvc{window}"]
    clips = []
    for name in sorted({key.split("/")[0] for key in arrays}):
        raw = torch.from_numpy(arrays[f"{name}/label"]).long()
        if len(raw) > 16:
            clips.append((torch.from_numpy(arrays[f"{name}/prediction"]).long(), torch.where(raw == 0, VOID, raw - 1)))
    metric = VideoConsistency(window)
    for prediction, label in clips:
        metric.update(prediction, label)
    assert metric.compute().item() == pytest.approx(brute_force(window, clips, "official"), abs=1e-12)
    right = sum((prediction == label).sum().item() for prediction, label in clips)
    pixel_accuracy = right / sum((label != VOID).sum().item() for _, label in clips)
    if expected == pytest.approx(pixel_accuracy, abs=1e-12):
        pytest.skip(
            f"mvc{window} in the file, {expected}, is the pixel accuracy of its clips; the definition gives {metric.compute()}"
        )
    assert metric.compute().item() == pytest.approx(expected, abs=1e-12)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="window=0"):
        VideoConsistency(0)
    with pytest.raises(ValueError, match="protocol='loose'"):
        VideoConsistency(8, protocol="loose")
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\); expected \(T, H, W\)"):
        VideoConsistency(2).update(torch.zeros(2, 3, 4, 4).long(), torch.zeros(2, 3, 4, 4).long())
    with pytest.raises(ValueError, match="prediction has values"):
        VideoConsistency(2).update(torch.full((3, 4, 4), 300), torch.zeros(3, 4, 4).long())
