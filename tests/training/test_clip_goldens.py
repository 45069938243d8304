"""Loss, gradients and optimizer groups of MRCFA equal the reference numbers of the published code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from src.data.samples import PairBatch
from src.losses.clip_segmentation import ClipSegmentationLoss
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.structures import IGNORE_INDEX
from src.training.clips import ClipStage
from src.training.optim import ClipAdamW
from src.weights.mrcfa_names import UNUSED, mrcfa_names
from src.weights.official import from_official
from tests.weights.golden_rule import keyed
from tests.weights.test_mrcfa_names import golden_weights


class Trained(NamedTuple):
    """Network in eval mode, with gradients, and its loss terms."""

    network: MrcfaSegmentor
    terms: dict[str, float]
    expected: dict[str, float]
    norms: dict[str, list[float] | None]


def golden_batch() -> PairBatch:
    size, frames, labels = (64, 96), [], []
    for number in range(4):
        frames.append(torch.from_numpy(keyed(f"mrcfa/64x96/frame{number}").integers(0, 256, (3, *size)).astype(np.uint8)))
        rng = keyed(f"mrcfa/64x96/label{number}")
        label = rng.integers(0, 124, size)
        label[rng.random(size) < 0.1] = IGNORE_INDEX
        labels.append(torch.from_numpy(label))
    images, references = torch.stack(frames)[None], torch.stack(labels)[None]
    return PairBatch(
        images[:, 0], images[:, 3], references[:, 3], None, torch.tensor([-9]), torch.tensor([0]), ["golden"],
        between_images=images[:, 1:3], reference_labels=references[:, :3],
    )  # fmt: skip


@pytest.fixture(scope="module", params=["b0", "b1", "b2"])
def trained(request: pytest.FixtureRequest, goldens: Path) -> Trained:
    folder = goldens / "mrcfa"
    network = from_official(golden_weights(folder / f"state_dict_{request.param}.json"))
    assert isinstance(network, MrcfaSegmentor)
    terms = ClipStage(ClipSegmentationLoss()).losses(network.eval(), golden_batch())
    torch.stack(list(terms.values())).sum().backward()
    case = folder / f"mrcfa_{request.param}_64x96"
    expected, norms = (json.loads(Path(f"{case}{end}.json").read_text()) for end in ("", "_gradnorm"))
    return Trained(network, {name: value.item() for name, value in terms.items()}, expected, norms)


def test_golden_loss(trained: Trained) -> None:
    assert sum(trained.terms.values()) == pytest.approx(trained.expected["loss_seg"], abs=1e-5)
    assert trained.terms["frames"] == pytest.approx(0.5 * trained.expected["ce_frames_mean"], abs=1e-5)
    assert trained.terms["clip"] == pytest.approx(trained.expected["ce_target4_mean"], abs=1e-5)


def test_golden_gradient_norms(trained: Trained) -> None:
    ours = dict(trained.network.named_parameters())
    names = mrcfa_names(trained.network.config())
    compared = 0
    for name, published in trained.norms.items():
        if published is None or published[0] is None:
            assert name in UNUSED
            continue
        gradients = [ours[own].grad for own in names[name]]
        found = float(torch.stack([grad.norm() for grad in gradients if isinstance(grad, Tensor)]).norm())
        # Gradients of the refinement are small, and cross the kinks of ReLU.
        least = 1e-5 if "hpn" in name else 1e-6
        assert found == pytest.approx(published[1], rel=1e-3, abs=least), name
        compared += len(gradients)
    assert compared == len(ours)


def test_golden_optimizer_groups(goldens: Path) -> None:
    expected = json.loads((goldens / "mrcfa" / "optim_b1.json").read_text())
    with torch.device("meta"):
        network = MrcfaSegmentor(124, refinement="deep")
    optimizer, _ = ClipAdamW(lr=6e-4, weight_decay=0.01).build(network, 160_000)
    settings = {id(p): (group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    ours = dict(network.named_parameters())
    names = {name: own for name, own in mrcfa_names(network.config()).items() if own[0] in ours}
    assert set(expected) == {*names, *UNUSED}
    for name, own in names.items():
        for one in own:
            assert settings[id(ours[one])] == pytest.approx(expected[name]), name
    sizes = {group["initial_lr"]: sum(p.numel() for p in group["params"]) for group in optimizer.param_groups}
    # The published code has an unused classifier of 15,996 weights there.
    assert sizes[6e-4] == 3_186_231 - 15_996
    assert optimizer.defaults["betas"] == (0.9, 0.999) and optimizer.defaults["eps"] == 1e-8
