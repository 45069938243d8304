"""Law: the fast path applies to inference on a CPU in full precision, and nowhere else."""

import torch
from torch import Tensor

from src.ops.cpu_inference import use_cpu_fast_path


def test_only_inference_in_full_precision() -> None:
    tensor = torch.zeros(1)
    assert not use_cpu_fast_path(tensor)
    with torch.no_grad():
        assert not use_cpu_fast_path(tensor)
    with torch.inference_mode():
        assert use_cpu_fast_path(tensor)
        assert not use_cpu_fast_path(torch.zeros(1, device="meta"))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not use_cpu_fast_path(tensor)


def test_not_in_a_graph() -> None:
    def step(tensor: Tensor) -> Tensor:
        return tensor + 1 if use_cpu_fast_path(tensor) else tensor - 1

    with torch.inference_mode():
        assert step(torch.zeros(1)) == 1
        assert torch.compile(step, backend="eager", fullgraph=True)(torch.zeros(1)) == -1
