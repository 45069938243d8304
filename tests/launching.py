"""Commands in one process, or in several by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.tiny_run import ROOT

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true", "HF_HUB_OFFLINE": "1",
    "GLOO_SOCKET_IFNAME": "lo",
}  # fmt: skip


def launch(module: str, *arguments: str, processes: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m <module>``, or ``torchrun --nproc_per_node=<processes> -m <module>``; its output is for messages."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return run([sys.executable, *torchrun, "-m", module, *arguments], **environment)


def run(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=os.environ | ENVIRONMENT | environment
    )
