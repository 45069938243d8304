"""Laws of peak memory."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# 200 MiB that are written to, not only reserved, and gone at the end.
CALLS = """
import torch
from src.measure.memory import peak_memory_mib
print(*(peak_memory_mib(call) for call in (lambda: None, lambda: torch.ones(50 * 2**20).sum(), lambda: None)))
"""


def test_temporary_memory_counts_only_for_its_call() -> None:
    # In a process of its own: what ran before in this one may have left memory that is taken again without a trace.
    done = subprocess.run([sys.executable, "-c", CALLS], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    base, more, after = map(float, done.stdout.split())
    assert 190 < more - base < 260 and after < base + 60
