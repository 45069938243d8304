"""Laws of naming a device and a precision."""

import pytest
import torch

from src.measure.machine import autocast_named, device_named


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)


@pytest.mark.usefixtures("two_gpus")
def test_names_are_those_of_torch() -> None:
    assert device_named("cpu") == torch.device("cpu") and device_named("cpu:0").type == "cpu"
    assert device_named("cuda:1").index == 1
    assert device_named("cuda") == torch.device("cuda")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (autocast_named(None), autocast_named("bfloat16")) == (None, torch.bfloat16)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu0", "abacus", "meta", "cpu:7", "", 0])
def test_an_absent_device_is_refused_with_a_list_of_devices(name: str | int) -> None:
    with pytest.raises(ValueError, match=rf"device is {name!r}; expected auto or a device of this machine: cpu$"):
        device_named(name)


@pytest.mark.usefixtures("two_gpus")
def test_a_device_index_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"device is 'cuda:2'; expected auto or a device of this machine: cpu, cuda:0, cuda:1$"):
        device_named("cuda:2")


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="autocast is 'half'; expected null, bfloat16 or float16"):
        autocast_named("half")
