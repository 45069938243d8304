import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning import Callback, LightningModule, Trainer

from src.data.samples import PairBatch
from src.losses.mask_classification import MaskClassificationLoss
from src.models.propagator import Propagator
from src.training.checkpointing import preemption
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint
from src.training.checkpointing.preemption import StopOnSignal
from src.training.stages import SegmentorStage, Terms
from tests.inference.tiny import CLASSES
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


NUMBERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class Square(SegmentorStage):
    """Stage with a trivial loss."""

    def __init__(self) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        return {"square": model.segmentor.parts()["class_head"].weight.square().sum()}


class Send(Callback):
    """Sends a signal to the run during a step or the validation after it."""

    def __init__(self, number: signal.Signals, step: int, validating: bool = False) -> None:
        self.number, self.step, self.validating = number, step, validating
        self.validated: list[int] = []
        self.sent = False

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.step and not self.validating and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step and self.validating:
            os.kill(os.getpid(), self.number)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated.append(trainer.global_step)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Check that a run restores the signal handlers."""
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    assert [signal.getsignal(number) for number in NUMBERS] == before


def stopped(folder: Path, send: Send, accumulate: int = 1, requeue: bool = True) -> list[str]:
    """Return the checkpoints of a run of six steps that ends with the exit code."""
    trainer = tiny_trainer(
        folder, 6, 100, send, StopOnSignal(requeue), val_check_interval=4 * accumulate, accumulate_grad_batches=accumulate
    )
    with pytest.raises(SystemExit) as ended:
        trainer.fit(tiny_module(Square()), tiny_data(6))
    assert ended.value.code == 75
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", NUMBERS)
def test_signal_saves_the_current_step(tmp_path: Path, number: signal.Signals) -> None:
    # Asked within step 2, at its first of two batches.
    assert stopped(tmp_path, Send(number, 1), accumulate=2) == ["step_0000002.ckpt"]


@pytest.mark.parametrize("validating", [False, True])
def test_due_validation_precedes_the_stop(tmp_path: Path, validating: bool) -> None:
    send = Send(signal.SIGTERM, 4 if validating else 3, validating)
    assert stopped(tmp_path, send) == ["step_0000004.ckpt"] and send.validated == [4]


def test_signal_at_the_last_step_has_no_effect(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, 2, 100, Send(signal.SIGTERM, 1), StopOnSignal())
    trainer.fit(tiny_module(Square()), tiny_data(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step_0000002.ckpt"]


class Twice(Callback):
    """Sends Ctrl-C twice within a step."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_second_ctrl_c_ends_the_run_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signal.SIGINT)
    trainer = tiny_trainer(tmp_path, 6, 100, Twice(), StopOnSignal())
    try:
        with pytest.raises(SystemExit) as ended:
            trainer.fit(tiny_module(Square()), tiny_data(6))
    finally:
        # Lightning ignores the signal from the first interruption on.
        signal.signal(signal.SIGINT, handler)
    assert ended.value.code == 1 and trainer.global_step == 1 and not list(tmp_path.iterdir())
    assert "Ctrl-C: finishing the step, then saving a checkpoint; Ctrl-C again ends the run at once" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ignored_signal_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    """As under nohup, and for SIGINT in a script's background."""
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        trainer = tiny_trainer(tmp_path, 2, 100, Send(number, 0), StopOnSignal())
        trainer.fit(tiny_module(Square()), tiny_data(2))
        assert [path.name for path in tmp_path.iterdir()] == ["step_0000002.ckpt"]
    finally:
        signal.signal(number, handler)


def test_stop_without_a_checkpoint_callback_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny_trainer(tmp_path, 6, 100, Send(signal.SIGTERM, 1), StopOnSignal())
    trainer.callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, PeriodicCheckpoint)]
    with pytest.raises(SystemExit) as ended:
        trainer.fit(tiny_module(Square()), tiny_data(6))
    assert ended.value.code == 1 and "step 2 is not saved, as callbacks.checkpoint is null" in caplog.text


SCONTROL = """#!/bin/sh
echo "$@" > {said}
{end}
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environment of an array job, with an scontrol that records its arguments."""
    for name, value in {"SLURM_JOB_ID": "81", "SLURM_ARRAY_JOB_ID": "80", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(preemption.SLURMEnvironment, "detect", staticmethod(lambda: True))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def install(folder: Path, end: str) -> Path:
    said = folder / "said"
    (folder / "scontrol").write_text(SCONTROL.format(said=said, end=end))
    (folder / "scontrol").chmod(0o755)
    return said


def test_job_is_requeued_by_scontrol(slurm: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = install(slurm, "exit 0")
    preemption._requeue()
    assert said.read_text() == "requeue 80_3\n" and "requeued SLURM job 80_3" in caplog.text
    install(slurm, "echo 'no such job' >&2; exit 1")
    preemption._requeue()
    assert "scontrol requeue 80_3 failed (no such job); start the job again by hand" in caplog.text
    caplog.clear()
    install(slurm, "echo 'Job is pending execution for job 81' >&2; exit 1")
    preemption._requeue()
    assert "job 80_3 is already requeued" in caplog.text and "by hand" not in caplog.text
    (slurm / "scontrol").unlink()
    os.environ["PATH"] = str(slurm)
    preemption._requeue()
    assert "No such file or directory: 'scontrol'" in caplog.text


@pytest.mark.parametrize(
    "number, requeue, expected",
    [
        (signal.SIGTERM, True, True),
        (signal.SIGTERM, False, False),
        (signal.SIGUSR1, True, True),
        (signal.SIGINT, True, False),
        (signal.SIGHUP, True, False),
    ],
)
def test_only_a_batch_job_that_its_scheduler_stops_is_requeued(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, requeue: bool, expected: bool
) -> None:
    said = install(slurm, "exit 0")
    trainer_asks = Send(number, 0)
    monkeypatch.setattr("lightning.pytorch.trainer.connectors.accelerator_connector.SLURMEnvironment.detect", lambda: False)
    monkeypatch.setattr(preemption.SLURMEnvironment, "detect", staticmethod(lambda: True))
    stopped(slurm / "run", trainer_asks, requeue=requeue)
    assert said.exists() == expected
