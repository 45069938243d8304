"""Law: autocast is off inside, on every device."""

import torch

from src.ops.precision import full_precision


def test_full_precision_switches_autocast_off_and_exists_on_every_device() -> None:
    x = torch.rand(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(x):
            assert (x @ x).dtype == torch.float32
    with full_precision(x.to("meta")):
        pass
