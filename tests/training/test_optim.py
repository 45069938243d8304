import json
from pathlib import Path

import pytest
import torch
from torch import nn

from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.training.optim import AdamWPoly, ClipAdamW, gradient_norm
from tests.inference.tiny import tiny_flow, tiny_propagator
from tests.training.tiny_clips import tiny_clip_segmentor


def groups_by_name(model: Propagator, optim: AdamWPoly) -> dict[str, tuple[float, float]]:
    """Return learning rate and weight decay by parameter name."""
    optimizer, _ = optim.build(model, 10)
    # The schedule has already set the rate of the first step.
    settings = {id(p): (group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(settings) == sum(len(group["params"]) for group in optimizer.param_groups)
    return {name: settings[id(p)] for name, p in model.named_parameters() if id(p) in settings}


def test_norms_embeddings_and_position_tables_have_no_weight_decay() -> None:
    with torch.device("meta"):
        swin = Mask2FormerSegmentor.from_backbone("swin_tiny", 4, num_queries=6, hidden_dim=32, pretrained_backbone=False)
    model = Propagator(swin, tiny_flow("query"))
    found = groups_by_name(model, AdamWPoly(lr=1.0, weight_decay=0.5, backbone_factor=0.1))
    assert found.keys() == dict(model.named_parameters()).keys()
    modules = dict(model.named_modules())
    tables = 0
    for name, (_, decay) in found.items():
        owner = modules[name.rpartition(".")[0]]
        is_table = any(word in name for word in ("relative_position_bias_table", "level_embed"))
        tables += is_table
        spared = is_table or isinstance(owner, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d | nn.Embedding)
        assert decay == (0.0 if spared else 0.5), name
    assert tables > 10
    # Plain biases are decayed, as the published recipe does.
    assert found["segmentor.network.class_predictor.bias"][1] == 0.5


def test_only_the_backbone_has_its_own_learning_rate() -> None:
    model = tiny_propagator()
    found = groups_by_name(model, AdamWPoly(lr=0.2, backbone_factor=0.1))
    backbone = {id(p) for p in model.segmentor.parts()["backbone"].parameters()}
    for name, parameter in model.named_parameters():
        assert found[name][0] == pytest.approx(0.02 if id(parameter) in backbone else 0.2), name


def test_frozen_parameters_are_not_in_the_optimizer() -> None:
    model = tiny_propagator()
    model.set_trainable(["flow"])
    assert groups_by_name(model, AdamWPoly()).keys() == {f"flow.{name}" for name, _ in model.flow.named_parameters()}
    model.set_trainable([])
    with pytest.raises(ValueError, match=r"no parameter is trainable; name at least one part in stage\.objective\.trainable"):
        AdamWPoly().build(model, 10)


def rates(optim: AdamWPoly, max_steps: int) -> list[float]:
    model = tiny_propagator()
    model.set_trainable(["segmentor.class_head"])
    optimizer, schedule = optim.build(model, max_steps)
    seen = []
    for _ in range(max_steps + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_learning_rate_decays_polynomially_to_zero() -> None:
    assert rates(AdamWPoly(lr=2.0), 4) == pytest.approx([2 * (1 - step / 4) ** 0.9 for step in range(5)])
    assert rates(AdamWPoly(lr=2.0, power=1.0), 4) == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])


def test_learning_rate_rises_linearly_during_warmup() -> None:
    assert rates(AdamWPoly(lr=1.0, power=0.0, warmup_steps=3), 5)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_the_gradient_norm_is_that_of_all_gradients_as_one_vector() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    assert gradient_norm(model) == 0
    model[0].weight.grad = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    model[1].bias.grad = torch.tensor([4.0], dtype=torch.float32)
    assert gradient_norm(model) == 5


def test_the_clip_segmentors_schedule_is_the_published_one(goldens: Path) -> None:
    expected = json.loads((goldens / "mrcfa" / "lr_schedule.json").read_text())
    optimizer, schedule = ClipAdamW(lr=6e-4, power=1.0, warmup_steps=1500).build(tiny_clip_segmentor(), 160_000)
    rates = sorted({group["initial_lr"] for group in optimizer.param_groups})
    for step, wanted in expected.items():
        factor = schedule.lr_lambdas[0](int(step))
        assert [rate * factor for rate in rates] == pytest.approx(wanted, rel=1e-9), step


def test_only_the_backbones_norms_of_a_clip_segmentor_have_no_weight_decay() -> None:
    model = tiny_clip_segmentor()
    optimizer, _ = ClipAdamW(lr=1.0, weight_decay=0.5).build(model, 10)
    found = {id(p): (group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        spared = name.startswith("encoder.") and "norm" in name
        assert found[id(parameter)] == (0.1 if name.startswith("encoder.") else 1.0, 0.0 if spared else 0.5), name
