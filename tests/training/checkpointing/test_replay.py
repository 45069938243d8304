import logging
from pathlib import Path

import pytest
import torch

from src.data.samples import PairBatch
from src.losses.mask_classification import MaskClassificationLoss
from src.models.propagator import Propagator
from src.training.checkpointing.nonfinite import NonFiniteStep
from src.training.checkpointing.replay import replay_step
from src.training.stages import SegmentorStage, Terms
from tests.inference.tiny import CLASSES
from tests.training.tiny_batch import tiny_batch
from tests.training.tiny_fit import tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


def stage() -> SegmentorStage:
    return SegmentorStage(MaskClassificationLoss(len(CLASSES), num_points=32))


def test_first_module_with_nonfinite_output_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module, trainer = tiny_module(stage()), tiny_trainer(tmp_path, 1, 10)
    embedder = dict(module.propagator.segmentor.named_modules())
    name = next(name for name in embedder if name.endswith("class_predictor"))
    with torch.no_grad():
        embedder[name].bias[0] = torch.nan
    assert replay_step(module, NonFiniteStep(tiny_batch(), 3, "because"), trainer) == {}
    assert f"segmentor.{name} is the first whose output is not finite" in caplog.text
    assert "matching costs are NaN or infinite" in caplog.text


class Overflows(SegmentorStage):
    """Stage with finite logits and a loss term that is not finite."""

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        terms = super().losses(model, batch)
        return terms | {"dice": terms["dice"] / 0}


def test_nonfinite_loss_term_after_the_network_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = Overflows(MaskClassificationLoss(len(CLASSES), num_points=32))
    terms = replay_step(tiny_module(broken), NonFiniteStep(tiny_batch(), 3, "because"), tiny_trainer(tmp_path, 1, 10))
    assert terms["dice"] == torch.inf and "loss_dice = inf" in caplog.text
    assert "is the first whose output" not in caplog.text


def test_finite_step_repeats_the_loss_terms_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module, trainer, batch = tiny_module(stage()), tiny_trainer(tmp_path, 1, 10), tiny_batch()
    with caplog.at_level(logging.INFO):
        found = replay_step(module, NonFiniteStep(batch, 3, "because"), trainer)
    module.on_train_batch_start(batch, 3)
    expected = {name: float(value) for name, value in module.stage.losses(module.propagator, batch).items()}
    assert found == expected and "loss and gradients are finite on cpu with 32-true" in caplog.text
