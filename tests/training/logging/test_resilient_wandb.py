from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from src.training.logging.resilient_wandb import ResilientWandbLogger


class FakeRun:
    """A W&B run whose process dies at the second line."""

    step, config, dir = 0, None, "."

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []

    def define_metric(self, *_: object, **__: object) -> None:
        pass

    def log(self, metrics: dict[str, Any], **_: object) -> None:
        if self.logged:
            raise ConnectionResetError("Connection lost")
        self.logged.append(metrics)


def test_when_wandb_dies_training_goes_on(
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
    (said,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert "ConnectionResetError: Connection lost" in said and f"what was logged is in {tmp_path}/wandb, for `wandb sync`" in said


def test_a_run_that_cannot_start_online_starts_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modes: list[str] = []
    calls: list[str] = []

    def init(mode: str, **_: object) -> FakeRun:
        modes.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("Run initialization has timed out")
        assert calls == ["teardown"], "a service that failed once fails again"
        return FakeRun()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "teardown", lambda: calls.append("teardown"))
    logger = ResilientWandbLogger(save_dir=str(tmp_path), mode="online")
    logger.log_metrics({"a": 1.0}, 0)
    assert modes == ["online", "offline"] and logger.failure is None
    assert "W&B cannot start a run (Run initialization has timed out): it is offline" in caplog.text


def test_what_lightning_logs_with_is_watched() -> None:
    """Every way to send something that the plain logger has, but those that need a server to have any use."""
    ways = {name for name in vars(WandbLogger) if name.startswith("log_")} | {"finalize"}
    assert {name for name in ways if name not in vars(ResilientWandbLogger)} <= {"log_text", "log_audio", "log_graph"}
