import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch

from src.losses.mask_classification import MaskClassificationLoss
from src.training.logging import callbacks
from src.training.logging.callbacks import PairPictures, ProgressLines, Throughput
from src.training.stages import PropagationStage, SegmentorStage
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator
from tests.training.tiny_batch import tiny_batch


class FakeTrainer(SimpleNamespace):
    """The attributes of a trainer that callbacks read."""

    def __init__(self, **changes: Any) -> None:
        defaults = {
            "global_step": 0, "max_steps": 7, "log_every_n_steps": 2, "is_global_zero": True, "sanity_checking": False,
            "accumulate_grad_batches": 1, "world_size": 1, "loggers": [], "callback_metrics": {},
            "datamodule": SimpleNamespace(val=FakeClips()),
        }  # fmt: skip
        super().__init__(**defaults | changes)


def steps(callback: Any, trainer: FakeTrainer, last: int, batches: int = 1, first: int = 1, module: Any = None) -> None:
    """Run the callback through optimiser steps of ``batches`` batches each."""
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
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
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
    monkeypatch.setattr(callbacks.rich, "get_console", lambda: SimpleNamespace(is_terminal=terminal))


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
            clock[0] += 30
            steps(callback, trainer, step, batches=2, first=step)
        callback.on_validation_end(trainer, None)
    assert caplog.messages == [
        "step 4 of 10: loss 2.5, 30.00 s per step, 3.0 min left",
        "step 6 of 10: loss 2.5, 30.00 s per step, 2.0 min left",
        "validation at step 6: val/epe 1, val/miou 0.25",
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


def validate(callback: PairPictures, trainer: FakeTrainer, stage: Any, batches: int) -> None:
    model, batch = tiny_propagator(), tiny_batch(size=1)
    for number in range(batches):
        callback.on_validation_batch_end(trainer, None, {"prediction": stage.predict(model, batch)}, batch, number)
    callback.on_validation_epoch_end(trainer, None)


def test_pictures_of_the_first_samples_go_to_a_folder_of_the_step(tmp_path: Path) -> None:
    loss = MaskClassificationLoss(len(CLASSES), num_points=32)
    with torch.no_grad():
        callback, trainer = PairPictures(str(tmp_path), 2), FakeTrainer(global_step=40)
        validate(callback, trainer, PropagationStage(loss), 3)
        trainer.global_step = 80
        validate(callback, trainer, SegmentorStage(loss), 1)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.png"))] == [
        "step_0000040/00.png", "step_0000040/01.png", "step_0000080/00.png",
    ]  # fmt: skip
    carried, single = (cv2.imread(str(tmp_path / name / "00.png")) for name in ("step_0000040", "step_0000080"))
    assert carried.std() > 10 and single.std() > 10 and carried.shape[1] >= 4 * 56


def test_nothing_is_drawn_in_a_sanity_check_or_on_other_ranks(tmp_path: Path) -> None:
    stage = SegmentorStage(MaskClassificationLoss(len(CLASSES), num_points=32))
    with torch.no_grad():
        validate(PairPictures(str(tmp_path), 2), FakeTrainer(sanity_checking=True), stage, 1)
        validate(PairPictures(str(tmp_path), 2), FakeTrainer(is_global_zero=False), stage, 1)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "step_0000000" / "00.png").mkdir(parents=True)
    stage = SegmentorStage(MaskClassificationLoss(len(CLASSES), num_points=32))
    with torch.no_grad(), pytest.raises(OSError, match=r"step_0000000/00\.png"):
        validate(PairPictures(str(tmp_path), 1), FakeTrainer(), stage, 1)
