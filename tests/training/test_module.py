from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from src.data.samples import PairBatch
from src.losses.mask_classification import MaskClassificationLoss
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.ops.occlusion import occluded
from src.ops.padding import pad_to
from src.training.stages import PropagationStage, SegmentorStage, StagePrediction, Terms
from tests.inference.tiny import CLASSES
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


class NoisyStage(SegmentorStage):
    """Stage whose loss depends on one random number per step, like drop-path or dropout."""

    def __init__(self) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])
        self.drawn: list[float] = []

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        noise = torch.rand(())
        self.drawn.append(float(noise))
        return {"noise": noise * model.segmentor.parts()["class_head"].weight.sum()}


class KeepCheckpoint(Callback):
    """Copies one checkpoint before a newer one replaces it."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_resumed_run_repeats_the_random_draws_of_an_uninterrupted_run(tmp_path: Path) -> None:
    whole = NoisyStage()
    keep = KeepCheckpoint(2, tmp_path / "kept.ckpt")
    tiny_trainer(tmp_path / "a", 5, 10, keep).fit(module := tiny_module(whole), tiny_data(5))
    rest = NoisyStage()
    torch.rand(7)
    tiny_trainer(tmp_path / "b", 5, 10).fit(resumed := tiny_module(rest), tiny_data(5), ckpt_path=keep.path, weights_only=True)
    assert len(set(whole.drawn)) == 5 and rest.drawn == whole.drawn[2:]
    for one, other in zip(module.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    other_seed = NoisyStage()
    tiny_trainer(tmp_path / "c", 2, 10).fit(tiny_module(other_seed, seed=1), tiny_data(2))
    assert not set(other_seed.drawn) & set(whole.drawn)


class Told(SegmentorStage):
    """Stage with a fixed prediction for every pair."""

    def __init__(self, terms: dict[str, float]) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])
        self.terms = terms

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        weight = model.segmentor.parts()["class_head"].weight
        return {name: value + 0 * weight.sum() for name, value in self.terms.items()}


def test_the_loss_is_the_sum_of_its_terms(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, 1, 10)
    trainer.fit(tiny_module(Told({"mask": 2.0, "dice": 0.5})), tiny_data(1))
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert (logged["train/loss"], logged["train/loss_mask"], logged["train/loss_dice"]) == (2.5, 2.0, 0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nonfinite_loss_term_is_reported_with_its_samples(tmp_path: Path, value: float) -> None:
    with pytest.raises(FloatingPointError, match=r"step 0: loss dice is not finite on clip\d/\d->\d$"):
        tiny_trainer(tmp_path, 1, 10).fit(tiny_module(Told({"mask": 2.0, "dice": value})), tiny_data(1))


class Remember(Callback):
    """Collects the results of the validation steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[PairBatch, StagePrediction]] = []

    def on_validation_batch_end(self, trainer, module, outputs, batch, *_) -> None:
        self.seen.append((batch, outputs["prediction"]))


def test_validation_scores_all_pairs_together_and_by_their_offset(tmp_path: Path) -> None:
    remember = Remember()
    trainer = tiny_trainer(tmp_path, 1, 10, remember)
    stage = PropagationStage(MaskClassificationLoss(len(CLASSES), num_points=32))
    trainer.fit(tiny_module(stage), tiny_data(1, val_samples=6))
    together, by_offset = MeanIoU(len(CLASSES)), {}
    for batch, outcome in remember.seen:
        found = semantic_map(outcome.nonkey, batch.nonkey_label.shape[-2:])
        together.update(found, batch.nonkey_label)
        by_offset.setdefault(abs(int(batch.offset)), MeanIoU(len(CLASSES))).update(found, batch.nonkey_label)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    assert len(by_offset) > 1 and logged.pop("val/epe") > 0
    assert logged == pytest.approx(
        {"val/miou": float(together.compute()["miou"]), "val/wiou": float(together.compute()["wiou"])}
        | {f"val/miou_offset_{offset}": float(iou.compute()["miou"]) for offset, iou in by_offset.items()}
    )


class KnowsWhatIsNew(PropagationStage):
    """Stage that predicts the true confidence, or its opposite."""

    def __init__(self, honest: bool) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32))
        self.honest = honest

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        outcome = super().predict(model, batch)
        assert outcome.flow is not None and batch.flow is not None
        new = occluded(batch.flow) if self.honest else ~occluded(batch.flow)
        confidence = pad_to((~new)[:, None].float(), outcome.flow.padded_size)
        return outcome._replace(flow=replace(outcome.flow, confidence=confidence))


@pytest.mark.parametrize("honest", [True, False])
def test_disocclusion_is_scored_where_the_true_flow_is_known(tmp_path: Path, honest: bool) -> None:
    trainer = tiny_trainer(tmp_path, 1, 10)
    trainer.fit(tiny_module(KnowsWhatIsNew(honest)), tiny_data(1, val_samples=6))
    logged = {name: float(trainer.callback_metrics[f"val/disoccluded{name}"]) for name in ("", "_precision", "_recall")}
    assert (0 < logged[""] < 0.5) == honest
    assert (logged["_precision"], logged["_recall"]) == (honest, honest)


def test_metrics_reset_after_each_validation(tmp_path: Path) -> None:
    scores: list[float] = []

    class Collect(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            scores.append(float(trainer.callback_metrics["val/miou"]))

    # Nothing is learnt, so a second validation repeats the first, unless counts were carried over from another state.
    stage = Told({"mask": 1.0})
    trainer = tiny_trainer(tmp_path, 4, 10, Collect(), val_check_interval=2)
    module = tiny_module(stage)
    module.optim = type(module.optim)(lr=0.0, weight_decay=0.0)
    trainer.fit(module, tiny_data(4))
    assert len(scores) == 2 and scores[0] == scores[1]
    assert int(module.val_iou.confusion.sum()) == 0
