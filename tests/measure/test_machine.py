"""Laws of naming a device and a precision."""

import pytest
import torch

from src.measure.machine import autocast_named, device_named


def test_names_mean_what_torch_means_by_them() -> None:
    assert device_named("cpu") == torch.device("cpu") and device_named("cuda:1").index == 1
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (autocast_named(None), autocast_named("bfloat16")) == (None, torch.bfloat16)


def test_other_names_are_refused() -> None:
    with pytest.raises(RuntimeError, match="abacus"):
        device_named("abacus")
    with pytest.raises(ValueError, match="autocast is 'half', expected null, bfloat16 or float16"):
        autocast_named("half")
