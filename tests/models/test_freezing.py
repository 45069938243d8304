"""Laws of freezing: what is frozen does not move, in parameters, buffers or behaviour; what is trained does."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from src.models.freezing import PartlyFrozen


def block(channels: int) -> nn.Sequential:
    """Everything that can move: weights, batch-norm statistics, dropout."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())


class Inner(PartlyFrozen):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = block(3)
        self.head = block(4)

    def parts(self) -> Mapping[str, nn.Module]:
        return {"backbone": self.backbone, "head": self.head}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class Outer(PartlyFrozen):
    """Parts within parts, as in the propagator, and a parameter that belongs to no part."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.motion = block(4)
        self.scale = nn.Parameter(torch.ones(1))

    def parts(self) -> Mapping[str, nn.Module]:
        nested = {f"inner.{name}": part for name, part in self.inner.parts().items()}
        return {"motion": self.motion, "inner": self.inner, **nested}

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.motion(self.inner(x))


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def fit(network: nn.Module) -> None:
    """A few steps as a trainer takes them: validation in between, decay on every parameter that has a gradient."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        network.train()
        network(torch.randn(2, 3, 6, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        network.eval()
        with torch.no_grad():
            network(torch.randn(2, 3, 6, 6))


@pytest.mark.parametrize(
    ("trainable", "moving"),
    [
        (["motion"], ("motion.",)),
        (["motion", "inner.head"], ("motion.", "inner.head.")),
        (["inner"], ("inner.",)),
        ([], ()),
    ],
)
def test_only_the_trainable_parts_move(trainable: list[str], moving: tuple[str, ...]) -> None:
    network = Outer()
    network.set_trainable(trainable)
    before = snapshot(network)
    if trainable:
        fit(nn.Sequential(network))  # inside a parent, whose train() reaches it as Lightning's does
    after = snapshot(network)
    for name, tensor in before.items():
        same = torch.equal(tensor, after[name])
        assert same != name.startswith(moving), f"{name} {'stayed' if same else 'moved'}"


def test_the_laws_would_notice_statistics_that_move() -> None:
    network = Outer()
    network.requires_grad_(False)
    network.motion.requires_grad_(True)
    before = snapshot(network.inner)
    fit(network)
    moved = {name for name, tensor in snapshot(network.inner).items() if not torch.equal(tensor, before[name])}
    assert any(name.endswith("running_mean") for name in moved)


def test_dropout_is_inactive_in_frozen_parts_and_active_in_trained_ones() -> None:
    network = Outer()
    network.set_trainable(["motion"])
    network.train()
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(network.inner(x), network.inner(x))
    assert not torch.equal(network(x), network(x))
    assert network.training
    assert network.motion[2].training
    assert not network.inner.head[2].training


def test_the_last_choice_holds() -> None:
    network = Outer()
    network.set_trainable(["motion"])
    network.set_trainable(["inner.backbone"])
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in network.named_parameters() if name.startswith("inner.backbone.")}
    network.train()
    assert not network.motion.training
    assert network.inner.backbone.training


def test_choosing_what_trains_does_not_switch_the_mode() -> None:
    network = Outer().eval()
    network.set_trainable(["motion"])
    assert not network.training
    assert not network.motion.training

    network = Outer().train()
    network.set_trainable(["motion"])
    assert network.training
    assert network.motion.training
    assert not any(module.training for module in network.inner.modules())


def test_everything_trains_where_nothing_was_chosen() -> None:
    network = Outer().train()
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_an_unknown_part_is_refused_and_the_known_ones_are_listed() -> None:
    network = Outer()
    with pytest.raises(ValueError, match=r"parts of Outer: flow unknown; expected some of motion, inner, inner\.backbone"):
        network.set_trainable(["motion", "flow"])
    assert all(parameter.requires_grad for parameter in network.parameters())
