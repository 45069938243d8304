import logging
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks.progress import rich_progress
from rich.console import Console

from src.training.logging import progress
from src.training.logging.progress import ProgressLines, StepBar, Throughput
from tests.training.logging.fake_trainer import FakeTrainer


def steps(callback: Any, trainer: FakeTrainer, last: int, batches: int = 1, first: int = 1, module: Any = None) -> None:
    """Run the callback through optimizer steps of ``batches`` batches each."""
    for step in range(first, last + 1):
        for number in range(batches):
            # Accumulated gradients are applied with the last batch.
            trainer.global_step = step if number == batches - 1 else step - 1
            callback.on_train_batch_end(trainer, module, None, tiny_batch_of_four(), 0)


def tiny_batch_of_four() -> Any:
    return SimpleNamespace(names=["a", "b", "c", "d"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list whose only element is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


class Module(SimpleNamespace):
    """Collects the logged values."""

    def log_dict(self, values: dict[str, float]) -> None:
        self.logged.append({name.removeprefix("train/"): value for name, value in values.items()})


def test_throughput_is_a_mean_over_steps_without_validation(clock: list[float]) -> None:
    module, trainer, callback = Module(logged=[]), FakeTrainer(world_size=2, accumulate_grad_batches=3), Throughput()
    callback.on_train_start(trainer, module)
    for step in range(1, 7):
        steps(callback, trainer, step, first=step, module=module)
        clock[0] += 0.5
        if step == 2:
            clock[0] += 1000
            callback.on_validation_end(trainer, module)
    # The clock starts with step 1 and, after the validation, with step 3.
    memory = [line.pop("memory_gb") for line in module.logged]
    assert module.logged == [{"seconds_per_step": 0.5, "samples_per_second": 4 * 3 * 2 / 0.5}] * 3
    # The memory of this process, which has imported torch.
    assert all(0.1 < one < 100 for one in memory) and memory == sorted(memory)


def set_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(progress.rich, "get_console", lambda: SimpleNamespace(is_terminal=terminal))


def test_without_a_terminal_progress_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    metrics = {"train/loss": torch.tensor(2.5), "val/miou": torch.tensor(0.25), "val/epe": torch.tensor(1.0)}
    trainer, callback = FakeTrainer(max_steps=10, callback_metrics=metrics), ProgressLines()
    set_terminal(monkeypatch, terminal=False)
    with caplog.at_level(logging.INFO):
        trainer.global_step = 3
        callback.on_train_start(trainer, None)
        for step in (4, 5, 6):
            clock[0] += 6
            steps(callback, trainer, step, batches=2, first=step)
        callback.on_validation_end(trainer, None)
    assert caplog.messages == [
        "step 4 of 10: loss 2.5, 6.00 s per step, 0.6 min left",
        "step 6 of 10: loss 2.5, 6.00 s per step, 0.4 min left",
        "validation at step 6: val/epe 1, val/miou 0.25",
    ]


def test_slow_steps_and_long_validations_have_lines_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    trainer, callback = FakeTrainer(max_steps=10, log_every_n_steps=100, num_val_batches=[9]), ProgressLines()
    set_terminal(monkeypatch, terminal=False)
    with caplog.at_level(logging.INFO):
        trainer.global_step = 0
        callback.on_train_start(trainer, None)
        for step in (1, 2, 3):
            clock[0] += 10
            steps(callback, trainer, step, first=step)
        for batch in range(4):
            clock[0] += 10
            callback.on_validation_batch_end(trainer, None, None, tiny_batch_of_four(), batch)
    assert caplog.messages == [
        "step 2 of 10: loss nan, 10.00 s per step, 1.3 min left",
        "validation at step 3: 1 of 9 batches",
        "validation at step 3: 3 of 9 batches",
    ]


@pytest.mark.parametrize("terminal, zero", [(True, True), (False, False)])
def test_on_a_terminal_and_on_other_ranks_it_is_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, terminal: bool, zero: bool
) -> None:
    set_terminal(monkeypatch, terminal)
    trainer, callback = FakeTrainer(is_global_zero=zero), ProgressLines()
    with caplog.at_level(logging.INFO):
        callback.on_train_start(trainer, None)
        steps(callback, trainer, 4)
        callback.on_validation_end(trainer, None)
    assert caplog.messages == []


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_counts_steps_and_names_no_epoch(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    console = Console(force_terminal=terminal, width=120, file=StringIO(), color_system=None)
    monkeypatch.setattr(progress.rich, "get_console", lambda: console)
    monkeypatch.setattr(rich_progress, "get_console", lambda: console)
    monkeypatch.setattr(rich_progress, "reconfigure", lambda: None)
    metrics = {"train/loss": torch.tensor(2.5)}
    loggers = [SimpleNamespace(version=3)]
    bar = StepBar()
    trainer = FakeTrainer(
        max_steps=8, progress_bar_metrics=metrics, loggers=loggers, current_epoch=0, max_epochs=-1, training=True,
        progress_bar_callback=bar, state=SimpleNamespace(fn="fit"),
    )  # fmt: skip
    bar.setup(trainer, None, "fit")
    bar.on_train_start(trainer, None)
    bar.on_train_epoch_start(trainer, None)
    # Two batches a step.
    steps(bar, trainer, 3, batches=2)
    bar.teardown(trainer, None, "fit")
    shown = console.file.getvalue()
    if terminal:
        last = [line for line in shown.splitlines() if "Training" in line][-1]
        assert "3/8" in last and "train/loss: 2.500" in last and "v_num" not in shown and "Epoch" not in shown
    else:
        assert shown == ""
