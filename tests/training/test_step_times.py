"""Laws of timed steps: weights move, parts sum to the step, and the second variant leaves no gradients."""

import pytest
import torch

from src.losses.flow import FlowLoss
from src.losses.mask_classification import MaskClassificationLoss
from src.training.module import PropagationModule
from src.training.stages import FlowStage, PropagationStage, SegmentorStage, Stage
from src.training.step_times import CONFIGURED, WITH_AUTOGRAD, step_times
from tests.inference.tiny import CLASSES
from tests.training.tiny_batch import tiny_batch
from tests.training.tiny_fit import tiny_module

PARTS = {"segmentor", "flow", "losses", "warp and other", "backward", "optimizer", "step"}


def set_loss() -> MaskClassificationLoss:
    return MaskClassificationLoss(len(CLASSES), num_points=64)


def timed(stage: Stage) -> tuple[PropagationModule, dict[str, dict[str, float]], dict[str, torch.Tensor]]:
    """Return the module after the steps, the times, and the weights before."""
    module = tiny_module(stage).train()
    before = {name: value.clone() for name, value in module.propagator.state_dict().items()}
    batch = tiny_batch(flow=torch.ones_like(tiny_batch().key_image[:, :2], dtype=torch.float32))
    return module, step_times(module, batch, warmup=0, repeats=2), before


def test_frozen_segmentor_is_timed_with_and_without_autograd_and_stays_frozen() -> None:
    module, ways, before = timed(PropagationStage(set_loss()))
    assert list(ways) == [CONFIGURED, WITH_AUTOGRAD]
    for parts in ways.values():
        assert set(parts) == PARTS and min(parts.values()) > 0
        assert parts["backward"] < parts["step"]
    frozen = [name for name, p in module.propagator.named_parameters() if not p.requires_grad]
    moved = {name for name, value in module.propagator.state_dict().items() if not value.equal(before[name])}
    assert frozen and not moved & set(frozen) and any(name.startswith("flow.") for name in moved)
    assert all(p.grad is None for p in module.propagator.parameters() if not p.requires_grad)


@pytest.mark.parametrize("stage", [SegmentorStage(set_loss()), FlowStage(FlowLoss())], ids=["segmentor", "flow"])
def test_without_frozen_parts_in_autograd_there_is_one_variant(stage: Stage) -> None:
    _, ways, _ = timed(stage)
    assert list(ways) == [CONFIGURED]
