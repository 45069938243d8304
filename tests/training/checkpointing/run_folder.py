"""A run folder of two checkpoints."""

import os
from pathlib import Path
from typing import Any

import torch

from src.training.checkpointing.checkpoint_files import RUN_KEY, DurableCheckpointIO

STATE: dict[str, Any] = {
    "state_dict": {"w": torch.arange(5000.0)}, "optimizer_states": [], "lr_schedulers": [], "loops": {}, "model_config": {},
}  # fmt: skip


def write_checkpoint(folder: Path, step: int, name: str | None = None, run: str | None = "a") -> Path:
    """Write a checkpoint of a step; ``run=None`` is one of an earlier release, without the record of its run."""
    path = folder / (name or f"step_{step:07d}.ckpt")
    record = {} if run is None else {RUN_KEY: {"id": run}}
    DurableCheckpointIO().save_checkpoint(STATE | {"global_step": step} | record, path)
    return path


def write_run(tmp_path: Path) -> Path:
    """Two checkpoints; the file of the earlier step is the younger one."""
    for age, step in ((200, 900), (100, 250)):
        path = write_checkpoint(tmp_path / "checkpoints", step)
        os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path


def newest(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "step_0000900.ckpt"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
