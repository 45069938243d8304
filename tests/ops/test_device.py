"""Laws: autocast is off inside, fast paths are for CPU inference, threads are set for both libraries, CPUs never synchronize."""

import cv2
import pytest
import torch
from torch import Tensor

from src.ops.device import full_precision, set_threads, synchronize, use_cpu_fast_path


def test_full_precision_switches_autocast_off_and_exists_on_every_device() -> None:
    x = torch.rand(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(x):
            assert (x @ x).dtype == torch.float32
    with full_precision(x.to("meta")):
        pass


def test_threads_are_set_for_torch_and_opencv_and_kept_without_a_number() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        set_threads(2)
        set_threads(None)
        set_threads(0)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_waiting_for_a_cpu_never_reaches_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device | None] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    for device in (torch.device("cpu"), torch.device("cuda", 1), None):
        synchronize(device)
    assert waited == [torch.device("cuda", 1), None]


def test_the_fast_path_applies_only_to_inference_in_full_precision() -> None:
    tensor = torch.zeros(1)
    assert not use_cpu_fast_path(tensor)
    with torch.no_grad():
        assert not use_cpu_fast_path(tensor)
    with torch.inference_mode():
        assert use_cpu_fast_path(tensor)
        assert not use_cpu_fast_path(torch.zeros(1, device="meta"))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not use_cpu_fast_path(tensor)


def test_the_fast_path_never_applies_in_a_graph() -> None:
    def step(tensor: Tensor) -> Tensor:
        return tensor + 1 if use_cpu_fast_path(tensor) else tensor - 1

    with torch.inference_mode():
        assert step(torch.zeros(1)) == 1
        assert torch.compile(step, backend="eager", fullgraph=True)(torch.zeros(1)) == -1
