import pytest
import torch
from torch import Tensor, nn

from src.weights.renaming import export_renamed, load_renamed

NAMES = {"qkv": ("0.weight", "1.weight", "2.weight"), "b0": ("0.bias",), "b1": ("1.bias",), "b2": ("2.bias",)}


def three() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))


def tensors() -> dict[str, Tensor]:
    return {"qkv": torch.randn(6, 2), "b0": torch.randn(2), "b1": torch.randn(2), "b2": torch.randn(2)}


def test_round_trip_is_bit_equal_and_keeps_the_order() -> None:
    module, source = three(), tensors()
    load_renamed(module, source, NAMES)
    assert torch.equal(module[1].weight, source["qkv"][2:4])
    back = export_renamed(module, NAMES)
    assert set(back) == set(source)
    assert all(torch.equal(back[name], value) for name, value in source.items())


def test_all_faults_are_listed_at_once_and_nothing_is_loaded() -> None:
    module = three()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    source = {**tensors(), "stray": torch.zeros(3), "qkv": torch.zeros(7, 2), "b1": torch.zeros(2, dtype=torch.int64)}
    del source["b0"]
    with pytest.raises(ValueError) as error:
        load_renamed(module, source, NAMES, prefix="p.")
    for text in (
        "4 tensors do not fit", "missing p.b0", "unknown p.stray (3,)", "p.qkv is (7, 2) float32, expected (6, 2)",
        "p.b1 is (2,) int64, expected (2,) float32",
    ):  # fmt: skip
        assert text in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_long_list_is_counted() -> None:
    with pytest.raises(ValueError, match="30 tensors do not fit") as error:
        load_renamed(three(), {**tensors(), **{f"x{i}": torch.zeros(1) for i in range(30)}}, NAMES)
    assert "and 25 more" in str(error.value)


def test_unchanged_tensors_stay_and_unnamed_ones_are_an_error() -> None:
    module = three()
    bias = module[2].bias.clone()
    names = {name: ours for name, ours in NAMES.items() if name != "b2"}
    source = {name: value for name, value in tensors().items() if name != "b2"}
    load_renamed(module, source, names, unchanged=["2.bias"])
    assert torch.equal(module[2].bias, bias)
    with pytest.raises(RuntimeError, match=r"2\.bias"):
        load_renamed(module, source, names)
