import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from src.data.pairs.sampling import TripletSampling
from src.data.samples import PairBatch
from src.losses.mask_classification import MaskClassificationLoss
from src.models.propagator import Propagator
from src.training.checkpointing.nonfinite import NonFiniteGuard, NonFiniteStep
from src.training.stages import SegmentorStage, Terms
from src.weights.model_folder import load_model
from tests.inference.tiny import CLASSES
from tests.training.tiny_batch import tiny_batch
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


class Breaks(SegmentorStage):
    """Stage whose loss, or only its gradient, is not finite at one sample."""

    def __init__(self, sample: int, loss: float = 1.0, gradient: float = 1.0) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])
        self.sample, self.loss_there, self.gradient_there = sample, loss, gradient

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        weight = model.segmentor.parts()["class_head"].weight
        value = weight.square().sum()
        if self.sample in batch.sample_id:
            # The square root has an infinite slope at 0.
            zero = (0 * weight).sum()
            value = value * self.loss_there + (torch.sqrt(zero.square()) if self.gradient_there != 1 else 0)
        return {"square": value}


def run(folder: Path, stage: SegmentorStage, **options: object) -> str:
    trainer = tiny_trainer(folder, 4, 2, NonFiniteGuard(str(folder / "broken")), **options)
    with pytest.raises(FloatingPointError) as raised:
        trainer.fit(tiny_module(stage), tiny_data(4))
    assert trainer.global_step == 2
    return str(raised.value)


def test_nonfinite_loss_saves_the_batch_and_the_weights_before_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = run(tmp_path, Breaks(2, loss=float("nan")))
    assert said.startswith("step 2: loss square is not finite on clip")
    folder = tmp_path / "broken" / "step_0000002_rank_0"
    assert f"the same command with replay={folder}" in caplog.text
    step = NonFiniteStep.read(folder)
    assert (step.reason, step.batch_idx, step.batch.sample_id.tolist()) == (said, 2, [2])
    assert step.batch.names[0] in said and step.batch.nonkey_image.dtype == torch.uint8
    # The weights are those after two steps: what a checkpoint of step 2 holds.
    kept, metadata = load_model(folder / "model")
    (checkpoint,) = tmp_path.glob("step_*.ckpt")
    expected, _ = load_model(checkpoint)
    assert metadata["classes"] == list(CLASSES) and checkpoint.name == "step_0000002.ckpt"
    assert all(torch.equal(one, other) for one, other in zip(kept.parameters(), expected.parameters(), strict=True))


def test_a_saved_triplet_keeps_its_second_key_frame(tmp_path: Path) -> None:
    batch = tiny_batch(TripletSampling(3))
    NonFiniteStep(batch, 7, "reason").write(tmp_path)
    found = NonFiniteStep.read(tmp_path).batch
    for name in ("after_image", "after_flow", "after_offset"):
        one, other = getattr(found, name), getattr(batch, name)
        assert one is not None and torch.equal(one.nan_to_num(9e9), other.nan_to_num(9e9)), name


def test_nonfinite_gradient_is_detected_before_the_optimizer_step(tmp_path: Path) -> None:
    said = run(tmp_path, Breaks(2, gradient=float("nan")))
    assert said.startswith("step 2: gradient of propagator.segmentor.") and "class_predictor" in said
    assert "is not finite on clip" in said
    kept, _ = load_model(tmp_path / "broken" / "step_0000002_rank_0" / "model")
    assert all(torch.isfinite(value).all() for value in kept.parameters())


def test_infinite_gradient_under_a_scaler_is_no_error(tmp_path: Path) -> None:
    """On an overflow of half precision, the scaler skips the step and halves its scale."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    trainer = tiny_trainer(tmp_path, 4, 10, NonFiniteGuard(str(tmp_path / "broken")), plugins=[plugin])
    trainer.fit(module := tiny_module(Breaks(2, gradient=float("nan"))), tiny_data(4))
    assert trainer.global_step == 4 and scaler.get_scale() == 512.0 and not (tmp_path / "broken").exists()
    assert all(torch.isfinite(value).all() for value in module.parameters())


def test_scaler_state_is_resumed(tmp_path: Path) -> None:
    def fit(folder: str, steps_of: int, checkpoint: Path | None = None) -> tuple[dict[str, float], list[torch.Tensor]]:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
        trainer = tiny_trainer(tmp_path / folder, 4, 3, plugins=[plugin])
        trainer.fit(
            module := tiny_module(Breaks(1, gradient=float("nan"))), tiny_data(4), ckpt_path=checkpoint, weights_only=True
        )
        assert trainer.global_step == steps_of
        return scaler.state_dict(), list(module.parameters())

    whole, expected = fit("whole", 4)
    resumed, found = fit("resumed", 4, tmp_path / "whole" / "step_0000003.ckpt")
    assert resumed == whole and whole["scale"] != 1024.0
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_saved_step_reads_back_equal(tmp_path: Path) -> None:
    for batch in (tiny_batch(), tiny_batch(flow=None)):
        NonFiniteStep(batch, 7, "because").write(tmp_path)
        again = NonFiniteStep.read(tmp_path)
        assert (again.batch_idx, again.reason, again.batch.names) == (7, "because", batch.names)
        for one, other in zip(batch, again.batch, strict=True):
            if isinstance(one, torch.Tensor):
                assert one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
            else:
                assert one == other


def test_folder_without_a_saved_step_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"batch\.safetensors does not exist; expected <run_dir>/broken/step_"):
        NonFiniteStep.read(tmp_path)
    NonFiniteStep(tiny_batch(), 7, "because").write(tmp_path)
    (tmp_path / "batch.json").write_text(json.dumps({"reason": "because"}))
    with pytest.raises(ValueError, match="does not hold a saved step"):
        NonFiniteStep.read(tmp_path)
