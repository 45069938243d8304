"""Laws of peak memory."""

import torch

from src.measure.memory import peak_memory_mib


def test_what_a_call_needs_for_a_moment_is_seen_and_then_forgotten() -> None:
    base = peak_memory_mib(lambda: None)
    # 200 MiB that are written to, not only reserved, and gone at the end.
    more = peak_memory_mib(lambda: torch.ones(50 * 2**20).sum())
    assert 190 < more - base < 260
    assert peak_memory_mib(lambda: None) < base + 60
