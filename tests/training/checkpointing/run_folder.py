"""A run folder of two checkpoints."""

import os
from pathlib import Path

import torch

from src.training.checkpointing.checkpoint_files import DurableCheckpointIO

STATE = {"state_dict": {"w": torch.arange(5000.0)}, "optimizer_states": [], "lr_schedulers": [], "loops": {}}


def write_run(tmp_path: Path) -> Path:
    """Two checkpoints; the one of the later step is older, as after a new start."""
    for age, step in ((200, 900), (100, 250)):
        path = tmp_path / "checkpoints" / f"step_{step:07d}.ckpt"
        DurableCheckpointIO().save_checkpoint(STATE | {"step": step}, path)
        os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path


def newest(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "step_0000250.ckpt"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
