from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from src.training.logging.resilient_wandb import ResilientWandbLogger


class FakeRun:
    """A W&B run whose process dies at the second call of log."""

    step, config, dir = 0, None, "."

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []

    def define_metric(self, *_: object, **__: object) -> None:
        pass

    def log(self, metrics: dict[str, Any], **_: object) -> None:
        if self.logged:
            raise ConnectionResetError("Connection lost")
        self.logged.append(metrics)


def test_training_survives_the_death_of_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = FakeRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    monkeypatch.setattr(wandb, "run", None)
    logger = ResilientWandbLogger(save_dir=str(tmp_path), mode="online")
    for step in range(3):
        logger.log_metrics({"a": float(step)}, step)
    logger.log_image("val/pictures", [])
    logger.finalize("success")
    assert len(run.logged) == 1 and isinstance(logger.failure, ConnectionResetError)
    (message,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert "ConnectionResetError: Connection lost" in message and f"wandb sync {tmp_path}/wandb" in message


def test_a_run_that_cannot_start_online_starts_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modes: list[str] = []
    calls: list[str] = []

    def init(mode: str, **_: object) -> FakeRun:
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("Run initialization has timed out")
        assert calls == ["teardown"], "the service must be restarted after a failed start"
        return FakeRun()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "teardown", lambda: calls.append("teardown"))
    logger = ResilientWandbLogger(save_dir=str(tmp_path), mode="online")
    logger.log_metrics({"a": 1.0}, 0)
    assert modes == ["online", "offline"] and logger.failure is None
    assert "W&B cannot start an online run (Run initialization has timed out); the run is offline" in caplog.text


def test_every_logging_method_of_lightning_is_tolerant() -> None:
    """Except those that nothing here calls."""
    methods = {name for name in vars(WandbLogger) if name.startswith("log_")} | {"finalize"}
    assert {name for name in methods if name not in vars(ResilientWandbLogger)} <= {"log_text", "log_audio", "log_graph"}
