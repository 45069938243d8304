"""Laws of synthetic motion: the flow carries the key frame to the non-key frame, exactly and within bounds."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from src.data.samples import PairSample
from src.data.synthetic.stills.motion import SyntheticMotion
from src.data.synthetic.stills.settings import CameraMotion, LayerSettings, ObjectMotion
from src.ops.warp import warp
from src.structures import IGNORE_INDEX


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


@pytest.mark.parametrize("seed", range(6))
def test_a_triplet_begins_with_the_pair_and_its_second_flow_is_exact(seed: int) -> None:
    """Pairs do not change, and warping the second key frame gives the non-key frame, too."""
    image, label = street(seed=seed)
    motion = synthetic_motion(deformation=1.0 if seed % 2 else 0.0)
    pair, triplet = (motion(image, label, np.random.default_rng(seed), triplet) for triplet in (False, True))
    assert pair.after_image is None and pair.after_flow is None and pair.offset == 0
    for one, two in zip(pair[:4], triplet[:4], strict=True):
        assert torch.equal(torch.nan_to_num(one.float()), torch.nan_to_num(two.float()))
    assert triplet.after_image is not None and triplet.after_flow is not None
    after = triplet._replace(flow=triplet.after_flow)
    warped = warp(triplet.after_image[None].float(), torch.nan_to_num(triplet.after_flow)[None])[0]
    error = (warped - triplet.nonkey_image.float()).abs().mean(0).numpy()
    certain = away_from_edges(after)
    assert certain.mean() > 0.15
    assert error[certain].mean() < 2.0 and np.quantile(error[certain], 0.99) < 8.0
    assert (triplet.after_flow.norm(dim=0) > 0.125 * 128 * 1.1).float().mean() < 0.1


def test_a_triplet_moves_at_constant_velocity() -> None:
    """Without shake and deformation, each pixel's second flow is opposite to the first, in the ratio of the two times."""
    image, label = street()
    motion = synthetic_motion(camera=CameraMotion(shake=0.0), deformation=0.0)
    ratios, times = [], []
    for seed in range(24):
        sample = motion(image, label, np.random.default_rng(seed), triplet=True)
        assert sample.flow is not None and sample.after_flow is not None
        before, after = sample.flow, sample.after_flow
        moving = (before.norm(dim=0) > 0.3) & (after.norm(dim=0) > 0.3)
        if moving.sum() < 500:
            continue
        cosine = torch.cosine_similarity(before[:, moving], after[:, moving], dim=0)
        assert cosine.quantile(0.95) < -0.95
        ratio = after[:, moving].norm(dim=0) / before[:, moving].norm(dim=0)
        # Perspective: what comes near moves by more than what goes away.
        assert ratio.quantile(0.9) < 2.5 * ratio.quantile(0.1)
        ratios.append(ratio.median().item())
        assert sample.offset < 0 < sample.after_offset
        if min(-sample.offset, sample.after_offset) > 1:
            times.append(ratios[-1] * -sample.offset / sample.after_offset)
    assert len(ratios) > 5 and min(ratios) < 0.7 and max(ratios) > 1.4
    # The times are rounded to frames.
    assert len(times) > 3 and min(times) > 0.6 and max(times) < 1.7


def test_cutouts_of_a_triplet_move_on() -> None:
    """With a camera at standstill, the middle of a cut-out moves by opposite shifts in the ratio of the two times."""
    image, label = street()
    stationary = synthetic_motion(
        camera=CameraMotion(standstill_probability=1.0, shake=0.0, lateral_speed=0.0),
        objects=ObjectMotion(moving_probability=0.0, max_pasted=1),
        deformation=0.0,
    )
    angles = []
    for seed in range(20):
        sample = stationary(image, label, np.random.default_rng(seed), triplet=True)
        assert sample.flow is not None and sample.after_flow is not None
        pasted = (sample.nonkey_image != image).any(0) & ~(sample.flow + sample.after_flow).isnan().any(0)
        before, after = sample.flow[:, pasted].mean(1), sample.after_flow[:, pasted].mean(1)
        if pasted.sum() > 50 and min(before.norm(), after.norm()) > 1:
            angles.append(torch.cosine_similarity(before, after, dim=0).item())
    assert len(angles) >= 3 and max(angles) < -0.9


def test_no_motion_gives_three_equal_frames() -> None:
    """With every magnitude zero all three frames are the still."""
    image, label = street()
    sample = synthetic_motion(strength=0.0)(image, label, np.random.default_rng(1), triplet=True)
    assert sample.after_image is not None and torch.equal(sample.after_image, sample.nonkey_image)
    assert sample.after_flow is not None and torch.nan_to_num(sample.after_flow).abs().max() < 1e-3


def test_bad_arguments_are_refused() -> None:
    """Different sizes, tiny images and negative magnitudes are refused."""
    image, label = street()
    with pytest.raises(ValueError, match=r"\(3, 96, 128\).*\(96, 127\)"):
        SyntheticMotion()(image, label[:, 1:], np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least 32"):
        SyntheticMotion()(image[:, :31], label[:31], np.random.default_rng(0))
    with pytest.raises(ValueError, match="negative magnitude"):
        SyntheticMotion(strength=-1.0)


def test_a_clip_moves_evenly_from_its_pair_and_labels_move_along() -> None:
    image, label = street()
    motion = synthetic_motion(camera=CameraMotion(shake=0.0, standstill_probability=0.0))
    pair = motion(image, label, np.random.default_rng(5))
    clip = motion.clip(image, label, np.random.default_rng(5), 2)
    assert torch.equal(clip.key_image, pair.key_image) and torch.equal(clip.nonkey_image, pair.nonkey_image)
    assert clip.after_image is None and clip.offset < 0
    assert len(clip.between_images) == 2 and len(clip.reference_labels) == 3
    _, key_label = motion.with_key_label(image, label, np.random.default_rng(5))
    assert torch.equal(clip.reference_labels[0], key_label)
    changed = [float((found != clip.nonkey_label).float().mean()) for found in clip.reference_labels]
    assert changed[0] > changed[1] > changed[2] > 0
    assert clip.flow is not None
    # The frame one third of the way from the target to the key frame is where a third of the flow points.
    inside = torch.from_numpy(away_from_edges(clip))
    moved = warp(clip.between_images[1][None].float(), clip.flow[None].nan_to_num() / 3)[0]
    errors = [float((x - clip.nonkey_image).abs().mean(0)[inside].mean()) for x in (moved, clip.between_images[1].float())]
    assert errors[0] < 0.5 * errors[1]
