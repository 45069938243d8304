from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from src.losses.mask_classification import MaskClassificationLoss
from src.training.logging.pair_pictures import PairPictures
from src.training.stages import PropagationStage, SegmentorStage
from tests.inference.tiny import CLASSES, tiny_propagator
from tests.training.logging.fake_trainer import FakeTrainer
from tests.training.tiny_batch import tiny_batch


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
