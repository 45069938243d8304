"""Laws of synthetic motion: the flow carries the key frame to the non-key frame, exactly and within bounds."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from src.data.synthetic.stills.motion import SyntheticMotion
from src.data.synthetic.stills.settings import CameraMotion, LayerSettings, ObjectMotion
from src.ops.warp import warp
from src.structures import IGNORE_INDEX, PairSample


def street(size: tuple[int, int] = (96, 128), seed: int = 0) -> tuple[Tensor, Tensor]:
    """A smooth random image whose label has sky (0), houses (1), a road (2), poles (3), a car (4) and void."""
    height, width = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    label = np.zeros(size, np.int64)
    label[height // 4 : height // 2, : width // 3] = 1
    label[height // 2 :] = 2
    label[height // 4 : height * 3 // 4, width * 5 // 8 : width * 5 // 8 + 4] = 3
    label[height * 5 // 8 : height * 13 // 16, width // 4 : width // 2] = 4
    label[-4:, width // 4 :] = IGNORE_INDEX
    return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)


def synthetic_motion(max_pasted: int = 2, photometric: float = 0.0, **settings: object) -> SyntheticMotion:
    """Motion with classes for road and sky, by default without photometric change."""
    objects = ObjectMotion(max_pasted=max_pasted)
    return SyntheticMotion(**{"layers": LayerSettings((2,), (0,)), "objects": objects, "photometric": photometric, **settings})  # type: ignore[arg-type]


def away_from_edges(sample: PairSample, distance: int = 4) -> np.ndarray:
    """Pixels with known flow whose neighborhood moves together."""
    flow = sample.flow.numpy()
    steps = [np.abs(np.diff(flow, axis=axis, append=np.take(flow, [-1], axis=axis))).max(0) for axis in (1, 2)]
    broken = np.isnan(flow).any(0) | ~(np.maximum(*steps) < 0.5)
    return cv2.dilate(broken.astype(np.uint8), np.ones((2 * distance + 1, 2 * distance + 1))) == 0


def test_same_generator_same_sample() -> None:
    """A sample is a function of (image, label, rng)."""
    image, label = street()
    one, same, other = (SyntheticMotion()(image, label, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for a, b in zip(one[:4], same[:4], strict=True):
        assert torch.equal(torch.nan_to_num(a.float()), torch.nan_to_num(b.float()))
    assert not torch.equal(one.key_image, other.key_image)


def test_input_is_not_changed() -> None:
    """Image and label of the data set are not modified, with or without cut-outs."""
    image, label = street()
    image_before, label_before = image.clone(), label.clone()
    synthetic_motion(max_pasted=4)(image, label, np.random.default_rng(0))
    assert torch.equal(image, image_before) and torch.equal(label, label_before)


def test_no_motion_is_the_identity() -> None:
    """With every magnitude zero both frames are the still and the flow is zero where it is known."""
    image, label = street()
    sample = synthetic_motion(strength=0.0, max_pasted=0)(image, label, np.random.default_rng(1))
    assert torch.equal(sample.key_image, image) and torch.equal(sample.nonkey_image, image)
    assert torch.equal(sample.nonkey_label, label)
    assert sample.flow is not None and sample.flow.abs().max() < 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_warping_the_key_frame_gives_the_nonkey_frame(seed: int) -> None:
    """Where flow is known and the neighborhood moves together, warping the key frame gives the non-key frame."""
    image, label = street(seed=seed)
    sample = synthetic_motion(deformation=1.0 if seed % 2 else 0.0)(image, label, np.random.default_rng(seed))
    assert sample.flow is not None
    flow = torch.nan_to_num(sample.flow)[None]
    error = (warp(sample.key_image[None].float(), flow)[0] - sample.nonkey_image.float()).abs().mean(0).numpy()
    certain = away_from_edges(sample)
    assert certain.mean() > 0.15
    assert error[certain].mean() < 2.0 and np.quantile(error[certain], 0.99) < 8.0


def test_the_opposite_flow_does_not() -> None:
    """The tolerance of the test above is tight enough: the opposite flow exceeds it."""
    image, label = street()
    sample = synthetic_motion()(image, label, np.random.default_rng(0))
    assert sample.flow is not None
    flow = -torch.nan_to_num(sample.flow)[None]
    error = (warp(sample.key_image[None].float(), flow)[0] - sample.nonkey_image.float()).abs().mean(0).numpy()
    assert error[away_from_edges(sample)].mean() > 4.0


def test_sources_outside_or_covered_are_unknown() -> None:
    """Every known source is inside the key frame, and large motions hide some pixels."""
    image, label = street()
    hidden = 0.0
    for seed in range(6):
        flow = synthetic_motion()(image, label, np.random.default_rng(seed)).flow
        assert flow is not None
        known = ~flow.isnan().any(0)
        assert torch.equal(flow.isnan().any(0), flow.isnan().all(0))
        x = (flow[0] + torch.arange(flow.shape[2]))[known]
        y = (flow[1] + torch.arange(flow.shape[1])[:, None])[known]
        assert x.min() >= -1e-3 and x.max() <= flow.shape[2] - 1 + 1e-3
        assert y.min() >= -1e-3 and y.max() <= flow.shape[1] - 1 + 1e-3
        hidden = max(hidden, 1 - known.float().mean().item())
    assert hidden > 0.03


def test_displacement_is_bounded() -> None:
    """Nearly all pixels move by less than ``max_displacement``."""
    image, label = street()
    motion = synthetic_motion(max_displacement=0.1, max_pasted=0, camera=CameraMotion(yaw_rate=3.0), deformation=0.0)
    for seed in range(6):
        flow = motion(image, label, np.random.default_rng(seed)).flow
        assert flow is not None
        length = flow.norm(dim=0)
        assert (length > 0.1 * 128 * 1.1).float().mean() < 0.08


def test_the_ego_vehicle_does_not_move() -> None:
    """Void along the lower border moves with the camera."""
    image, label = street()
    flow = synthetic_motion(max_pasted=0, deformation=0.0)(image, label, np.random.default_rng(5)).flow
    assert flow is not None
    assert torch.nan_to_num(flow[:, label == IGNORE_INDEX]).abs().max() < 1e-3
    assert torch.nan_to_num(flow[:, label == 2]).abs().max() > 0.5


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 130)])
@pytest.mark.parametrize("content", ["one", "void", "many"])
def test_any_label_is_accepted(size: tuple[int, int], content: str) -> None:
    """Odd sizes, one class, only void, and hundreds of classes all give a sample of the right form."""
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8))
    label = {
        "one": torch.full(size, 7),
        "void": torch.full(size, IGNORE_INDEX),
        "many": torch.from_numpy(np.kron(rng.integers(0, 900, (8, 8)), np.ones((17, 17), np.int64))[: size[0], : size[1]].copy()),
    }[content]
    if label.shape != size:
        label = torch.nn.functional.pad(label, (0, size[1] - label.shape[1], 0, size[0] - label.shape[0]))
    for seed in range(3):
        sample = SyntheticMotion()(image, label, np.random.default_rng(seed))
        assert sample.key_image.shape == sample.nonkey_image.shape == (3, *size) and sample.key_image.dtype == torch.uint8
        assert sample.nonkey_label.shape == size and sample.nonkey_label.dtype == torch.int64
        assert sample.flow is not None and sample.flow.shape == (2, *size) and sample.flow.dtype == torch.float32


def test_bad_arguments_are_refused() -> None:
    """Different sizes, tiny images and negative magnitudes are refused."""
    image, label = street()
    with pytest.raises(ValueError, match=r"\(3, 96, 128\).*\(96, 127\)"):
        SyntheticMotion()(image, label[:, 1:], np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 32"):
        SyntheticMotion()(image[:, :31], label[:31], np.random.default_rng(0))
    with pytest.raises(ValueError, match="negative magnitude"):
        SyntheticMotion(strength=-1.0)
