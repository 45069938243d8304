"""Laws of multiruns: separate folders and W&B runs, launchers, search, failed jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.train import main
from src.weights.model_folder import load_model
from tests.launching import launch
from tests.tiny_run import ROOT, compose_train, overrides
from tests.wandb_runs import logged_bytes


def test_multirun_gives_each_job_a_folder_and_a_wandb_run(tmp_path: Path) -> None:
    arguments = [
        *overrides(tmp_path / "scenes", tmp_path / "my runs (1)"), "stage=segmentor", "logger=default", "trainer.max_steps=2",
        "trainer.val_check_interval=2", "monitor=val/miou", "data.val_samples=1", "seed=0,-1,1",
    ]  # fmt: skip
    environment = os.environ | {"WANDB_SILENT": "true", "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "src.train", "--multirun", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    # The middle job fails: it is reported, and the last one runs.
    assert done.returncode == 1, done.stderr
    (sweep,) = (tmp_path / "my runs (1)" / "default" / "sweeps").iterdir()
    assert "ValueError: seed is -1; expected integer 0..4294967295" in (sweep / "1" / "failed.txt").read_text()
    assert "job 1 failed: seed is -1" in done.stdout
    assert (sweep / "sweep.md").read_text().splitlines()[2].startswith("| 2 ")
    assert re.search(r"left out, not finished: 1 \(.*seed=-1", done.stdout)
    assert "W&B is offline (WANDB_MODE=offline)" in done.stdout and "Tip: " not in done.stderr and "LeafSpec" not in done.stderr
    jobs = sorted((tmp_path / "my runs (1)" / "default" / "sweeps").glob("*/*/model"))
    assert [path.parent.name for path in jobs] == ["0", "2"]
    one, other = (load_model(job)[0].state_dict() for job in jobs)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for job in (path.parent for path in jobs):
        text = (job / "train.log").read_text()
        assert "step 2 of 2: loss" in text and "validation at step 2: val/miou" in text and str(job) in text
        (wandb_run,) = job.glob("wandb/offline-run-*")
        assert list((wandb_run / "files" / "media" / "images" / "val").glob("pictures_*.png"))
        logged = logged_bytes(wandb_run)
        assert all(name in logged for name in (b"train/loss_dice", b"val/wiou", b"val/pictures"))
        assert f"default-segmentor-{job.name}".encode() in logged


@pytest.mark.slow
def test_the_slurm_launcher_runs_a_whole_sweep_without_slurm(tmp_path: Path) -> None:
    """Submitit's local executor pickles jobs and runs them in separate processes, as on a cluster."""
    arguments = [
        *overrides(tmp_path / "scenes", tmp_path / "runs"), "stage=segmentor", "trainer.max_steps=2", "data.val_samples=1",
        "trainer.val_check_interval=2", "hydra/launcher=slurm_dry_run", "seed=0,1",
    ]  # fmt: skip
    done = launch("src.train", "--multirun", *arguments)
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "runs" / "default" / "sweeps").iterdir()
    assert all((sweep / job / "model" / "config.json").is_file() for job in "01")
    assert len(list((sweep / ".submitit").glob("*/*_log.out"))) == 2
    assert "\n| 2 " in (sweep / "sweep.md").read_text()


@pytest.mark.slow
def test_optuna_runs_trials_by_joblib_and_reports_the_best(tmp_path: Path) -> None:
    """Two parallel trials, each with its own settings and score."""
    arguments = [
        *overrides(tmp_path / "scenes", tmp_path / "runs"), "stage=segmentor", "trainer.max_steps=2", "data.val_samples=1",
        "trainer.val_check_interval=2", "hparams_search=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib",
    ]  # fmt: skip
    done = launch("src.train", "--multirun", *arguments)
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "runs" / "default" / "sweeps").iterdir()
    best = OmegaConf.load(sweep / "optimization_results.yaml")
    rates = {OmegaConf.load(sweep / job / ".hydra" / "config.yaml").stage.optim.lr for job in "01"}
    assert len(rates) == 2 and best.best_params["stage.optim.lr"] in rates and 0 <= best.best_value <= 1
    assert all((sweep / job / "model" / "config.json").is_file() for job in "01")
    assert "stage.optim.lr" in (sweep / "sweep.md").read_text()


@pytest.mark.parametrize(
    "launcher, target",
    [
        ("slurm", "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"),
        ("slurm_dry_run", "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"),
        ("joblib", "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"),
    ],
)
def test_launchers_have_only_known_keys(launcher: str, target: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"hydra/launcher={launcher}", "hydra.job.num=0"], return_hydra_config=True)
        node = cfg.hydra.launcher
        plugin = {"slurm": "submitit_slurm", "slurm_dry_run": "submitit_local", "joblib": "joblib"}[launcher]
        known = ConfigStore.instance().load(f"hydra/launcher/{plugin}.yaml").node
    assert node._target_ == target and set(node) == set(known)


def test_optuna_config_has_parameters_and_tolerates_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", ["hparams_search=optuna"], return_hydra_config=True)
    sweeper = cfg.hydra.sweeper
    assert (cfg.monitor, sweeper.direction, sweeper.max_failure_rate) == ("val/miou", "maximize", 1.0)
    for key in sweeper.params:
        assert OmegaConf.select(cfg, key) is not None, key


def test_a_multirun_over_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    job = SimpleNamespace(mode=RunMode.MULTIRUN, job=SimpleNamespace(num=3), runtime=SimpleNamespace(output_dir="job"))
    job.overrides = SimpleNamespace(task=[], hydra=[])
    monkeypatch.setattr("src.train.HydraConfig.get", lambda: job)
    monkeypatch.setattr("src.commands.train.train", lambda cfg: {"run_dir": cfg.run_dir})
    one, two = (compose_train("logger=none", "monitor=run_dir", f"trainer.devices={devices}") for devices in ("[1]", "2"))
    assert main.__wrapped__(one) == "job"
    with pytest.raises(SystemExit):
        main.__wrapped__(two)
    assert "trainer.devices=2: the jobs of a multirun train on one device each" in caplog.text
    job.mode = RunMode.RUN
    with pytest.raises(SystemExit):
        main.__wrapped__(compose_train("logger=none", "monitor=val/moiu"))
    assert "monitor=val/moiu is not logged; expected one of run_dir" in caplog.text
