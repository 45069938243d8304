"""Laws: a replacement shares the parameters of its module, under the same names, at every depth."""

import torch
from torch import Tensor, nn

from src.models.replacement import Replacement, replace_modules


class Doubled(Replacement, nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_every_module_of_the_type_is_replaced_and_shares_its_parameters() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    parameters, image = dict(network.named_parameters()), torch.randn(5, 3)
    expected = 2 * network[1][1](network[1][0](2 * network[0](image)))
    replace_modules(network, nn.Linear, Doubled)
    assert torch.equal(network(image), expected)
    assert type(network[1][0]) is nn.ReLU
    found = dict(network.named_parameters())
    assert list(found) == list(parameters)
    assert all(found[name] is parameter for name, parameter in parameters.items())


def test_the_mode_is_that_of_the_replaced_module() -> None:
    assert not Doubled(nn.Linear(1, 1).eval()).training
    assert Doubled(nn.Linear(1, 1)).training
