"""Laws: autocast is off inside, threads are set for both libraries, and a CPU is never waited for."""

import cv2
import pytest
import torch

from src.ops.device import full_precision, set_threads, synchronize


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
