"""Several runs by one command: none is in the way of another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.types import RunMode

from src.train import main
from src.weights.model_folder import load_model
from tests.tiny_run import ROOT, compose_train, overrides
from tests.wandb_runs import logged_bytes


def test_a_multirun_gives_each_job_its_folder_and_its_wandb_run(tmp_path: Path) -> None:
    arguments = [
        *overrides(tmp_path / "scenes", tmp_path / "my runs (1)"), "stage=segmentor", "logger=wandb", "trainer.max_steps=2",
        "trainer.val_check_interval=2", "monitor=val/miou", "data.val_samples=1", "seed=0,1",
    ]  # fmt: skip
    environment = os.environ | {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "src.train", "--multirun", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "W&B is offline (WANDB_MODE=offline)" in done.stdout and "Tip: " not in done.stderr and "LeafSpec" not in done.stderr
    jobs = sorted((tmp_path / "my runs (1)" / "default" / "sweeps").glob("*/*/model"))
    assert [path.parent.name for path in jobs] == ["0", "1"]
    one, other = (load_model(job)[0].state_dict() for job in jobs)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for job in (path.parent for path in jobs):
        text = (job / "train.log").read_text()
        assert "step 2 of 2: loss" in text and "validation at step 2: val/miou" in text and str(job) in text
        (wandb_run,) = job.glob("wandb/offline-run-*")
        assert list((wandb_run / "files" / "media" / "images" / "val").glob("pictures_*.png"))
        logged = logged_bytes(wandb_run)
        assert all(name in logged for name in (b"train/loss_dice", b"val/wiou", b"val/pictures"))


def test_a_multirun_over_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    job = SimpleNamespace(mode=RunMode.MULTIRUN, runtime=SimpleNamespace(output_dir="job"))
    monkeypatch.setattr("src.train.HydraConfig.get", lambda: job)
    monkeypatch.setattr("src.train.train", lambda cfg: {"run_dir": cfg.run_dir})
    one, two = (compose_train("logger=none", "monitor=run_dir", f"trainer.devices={devices}") for devices in ("[1]", "2"))
    assert main.__wrapped__(one) == "job"
    with pytest.raises(ValueError, match=r"trainer\.devices=2: the jobs of a multirun train on one device each"):
        main.__wrapped__(two)
    with pytest.raises(ValueError, match="monitor=val/moiu was not logged; there are run_dir"):
        main.__wrapped__(compose_train("logger=none", "monitor=val/moiu"))
