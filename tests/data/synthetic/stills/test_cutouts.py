"""Laws of cut-outs: they change label and image at the same pixels, and each moves by one similarity."""

import numpy as np
import torch

from src.data.synthetic.stills.settings import CameraMotion, ObjectMotion
from tests.data.synthetic.stills.test_motion import street, synthetic_motion


def test_label_changes_only_under_cutouts() -> None:
    """Without cut-outs the label and the non-key frame are the still's; with them they change at the same pixels."""
    image, label = street()
    plain = synthetic_motion(max_pasted=0)(image, label, np.random.default_rng(0))
    assert torch.equal(plain.nonkey_label, label) and torch.equal(plain.nonkey_image, image)
    changed = 0
    for seed in range(6):
        pasted = synthetic_motion(max_pasted=3)(image, label, np.random.default_rng(seed))
        new_class, new_value = pasted.nonkey_label != label, (pasted.nonkey_image != image).any(0)
        assert not (new_class & ~new_value).any()
        assert set(pasted.nonkey_label[new_class].tolist()) <= {1, 3, 4}
        changed += int(new_class.sum())
    assert changed > 100


def test_cutouts_have_their_own_motion() -> None:
    """With a camera at standstill, only cut-outs move, each by one similarity."""
    image, label = street()
    stationary = synthetic_motion(
        camera=CameraMotion(standstill_probability=1.0, shake=0.0, lateral_speed=0.0),
        objects=ObjectMotion(moving_probability=0.0, max_pasted=1),
        deformation=0.0,
    )
    moved = 0
    for seed in range(8):
        sample = stationary(image, label, np.random.default_rng(seed))
        assert sample.flow is not None
        moving = torch.nan_to_num(sample.flow).norm(dim=0) > 0.05
        pasted = (sample.nonkey_image != image).any(0)
        assert not (moving & ~pasted & (sample.nonkey_label == label)).sum() > 0.02 * label.numel()
        if moving.sum() < 50:
            continue
        y, x = torch.nonzero(moving, as_tuple=True)
        known = ~sample.flow[0][moving].isnan()
        design = torch.stack((x, y, torch.ones_like(x)), dim=1)[known].double()
        target = sample.flow[:, moving][:, known].T.double()
        solution = torch.linalg.lstsq(design, target).solution
        assert (design @ solution - target).abs().max() < 1e-3
        assert abs(solution[0, 0] - solution[1, 1]) < 1e-4 and abs(solution[0, 1] + solution[1, 0]) < 1e-4
        moved += 1
    assert moved >= 3
