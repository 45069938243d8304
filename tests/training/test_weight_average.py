"""Averaged weights: what is validated, saved and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from src.losses.mask_classification import MaskClassificationLoss
from src.training.stages import PropagationStage
from src.training.weight_average import WeightAverage
from tests.inference.tiny import CLASSES
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

State = dict[str, torch.Tensor]


class Trace(Callback):
    """Weights after every step, and those of every validation."""

    def __init__(self) -> None:
        self.steps: list[State] = []
        self.validated: list[State] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        self.steps.append(copied(pl_module))

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        self.validated.append(copied(pl_module))


def copied(module: LightningModule) -> State:
    return {name: value.clone() for name, value in module.propagator.state_dict().items() if value.is_floating_point()}  # type: ignore[union-attr, operator]


def fit(folder: Path, checkpoint: Path | None = None, start_step: int = 1) -> tuple[State, Trace]:
    torch.manual_seed(0)
    module, trace = tiny_module(PropagationStage(MaskClassificationLoss(len(CLASSES), num_points=32))), Trace()
    trainer = tiny_trainer(folder, 4, 2, trace, WeightAverage(decay=0.5, start_step=start_step))
    trainer.fit(module, datamodule=tiny_data(4), ckpt_path=checkpoint, weights_only=True)
    return copied(module), trace


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State, Trace]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, *fit(folder)


def test_the_average_is_validated_and_kept(whole: tuple[Path, State, Trace]) -> None:
    _, saved, trace = whole
    for name, value in saved.items():
        # The average is still the weights themselves after two steps.
        average = trace.steps[1][name]
        for step in trace.steps[2:]:
            average = 0.5 * average + 0.5 * step[name]
        torch.testing.assert_close(value, average, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(trace.validated[-1][name], value)
    assert any(not torch.equal(value, trace.steps[-1][name]) for name, value in saved.items())


def test_a_resumed_run_ends_with_the_same_average(whole: tuple[Path, State, Trace], tmp_path: Path) -> None:
    folder, saved, _ = whole
    resumed, _ = fit(tmp_path, next(folder.glob("*2.ckpt")))
    assert all(torch.equal(resumed[name], value) for name, value in saved.items())


def test_a_training_that_ends_before_the_start_saves_its_last_weights(tmp_path: Path) -> None:
    saved, trace = fit(tmp_path, start_step=100)
    assert all(torch.equal(value, trace.steps[-1][name]) for name, value in saved.items())
    assert any(not torch.equal(value, trace.steps[0][name]) for name, value in saved.items())
    assert all(torch.equal(value, saved[name]) for name, value in trace.validated[-1].items())


@pytest.mark.parametrize("arguments", [{"decay": 1.0}, {"decay": -0.1}, {"start_step": -1}])
def test_values_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0"):
        WeightAverage(**arguments)  # type: ignore[arg-type]
