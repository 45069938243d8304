"""A fit of a few steps on clips in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from src.data.datamodule import PairDataModule
from src.data.pairs.sampling import PairSampling, UniformSampling
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint
from src.training.module import PropagationModule
from src.training.optim import AdamWPoly
from src.training.stages import Stage
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator


def tiny_module(stage: Stage, seed: int = 0, flow: str = "query") -> PropagationModule:
    return PropagationModule(tiny_propagator(flow), stage, AdamWPoly(lr=1e-3), len(CLASSES), {"classes": list(CLASSES)}, seed)


def tiny_data(max_steps: int, val_samples: int = 2, sampling: PairSampling | None = None) -> PairDataModule:
    return PairDataModule(
        FakeClips(), FakeClips(), UniformSampling(3), sampling or UniformSampling(3), None, None, batch_size=1, num_workers=0,
        max_steps=max_steps, val_samples=val_samples, seed=0,
    )  # fmt: skip


def tiny_trainer(folder: Path, max_steps: int, every_n_steps: int, *callbacks: Callback, **options: Any) -> Trainer:
    settings = {"val_check_interval": max_steps, "logger": False, "log_every_n_steps": 1} | options
    return Trainer(
        accelerator="cpu", max_steps=max_steps, check_val_every_n_epoch=None, num_sanity_val_steps=0,
        callbacks=[*callbacks, PeriodicCheckpoint(str(folder), every_n_steps)], enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder, **settings,
    )  # fmt: skip
