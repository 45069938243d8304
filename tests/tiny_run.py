"""Overrides for training runs of a few steps on generated scenes of 64 x 96 pixels."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parents[1]

SCENES = ["data.scenes.num_clips=1", "data.scenes.num_frames=8", "data.scenes.size=[64,96]"]
NETWORKS = [
    "model/segmentor=tiny",
    "model.flow.encoder_channels=[8,8,16,16,16,16]",
    "model.flow.hidden_dim=32",
    "model.flow.num_heads=4",
    "model.flow.ffn_dim=32",
    "model.flow.decoder_layers=1",
    "model.flow.refine_channels=[8,8,8,8]",
    "model.flow.mlp_dim=16",
]
STEPS = [
    "experiment=default",
    "mask_loss.num_points=64",
    "batch_size=2",
    "num_workers=0",
    "data.val_samples=4",
    "trainer.accelerator=cpu",
    "trainer.max_steps=6",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=2",
    "callbacks.checkpoint.every_n_steps=4",
    "callbacks.pictures.num_samples=1",
    "callbacks.progress_bar=null",
    "callbacks.overlay=null",
    "callbacks.model_cost=null",
    "callbacks.streamed_score=null",
    "+trainer.enable_progress_bar=false",
    "logger=csv",
]


def overrides(data: Path, runs: Path) -> list[str]:
    """Return the overrides that make ``python -m src.train`` a tiny run."""
    return [f"paths.data={data}", f"paths.runs={runs}", *SCENES, *NETWORKS, *STEPS]


def compose_train(*extra: str) -> DictConfig:
    """Compose the configuration of ``python -m src.train <extra>``."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", list(extra))


def compose_eval(*extra: str) -> DictConfig:
    """Compose the configuration of ``python -m src.eval <extra>``."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("eval", list(extra))
