import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from src.data.samples import PairBatch
from src.losses.mask_classification import MaskClassificationLoss
from src.models.propagator import Propagator
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint
from src.training.stages import SegmentorStage, Terms
from tests.inference.tiny import CLASSES
from tests.training.checkpointing.run_folder import write_checkpoint
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


class FakeTrainer(SimpleNamespace):
    """The trainer attributes that the callback reads."""

    def __init__(self, batches: int = 1, validate_every: float = math.inf, **changes: Any) -> None:
        loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=-1))
        defaults = {
            "global_step": 0,
            "max_steps": 7,
            "is_global_zero": True,
            "sanity_checking": False,
            "saved": [],
            "loggers": [],
        }
        super().__init__(**defaults | {"fit_loop": loop, "enable_validation": True, "val_check_batch": validate_every} | changes)
        self.batches = batches

    def save_checkpoint(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        # What is there while the new one is written is what a killed process leaves.
        self.saved.append((path.name, sorted(file.name for file in path.parent.iterdir())))
        path.touch()

    def run(self, callback: PeriodicCheckpoint, last: int) -> None:
        """Run optimizer steps of several batches, and the validations between them."""
        for step in range(1, last + 1):
            for number in range(self.batches):
                # Accumulated gradients are applied with the last batch.
                self.global_step = step if number == self.batches - 1 else step - 1
                self.fit_loop.epoch_loop.total_batch_idx += 1
                callback.on_train_batch_end(self, None, None, None, 0)
                if (self.fit_loop.epoch_loop.total_batch_idx + 1) % self.val_check_batch == 0:
                    self.saved.append("validation")
                    callback.on_validation_end(self, None)


FIRST, SECOND, LAST = "step_0000003.ckpt", "step_0000006.ckpt", "step_0000007.ckpt"


@pytest.mark.parametrize("batches", [1, 3])
def test_checkpoint_is_saved_at_the_interval_and_at_the_last_step(tmp_path: Path, batches: int) -> None:
    trainer = FakeTrainer(batches)
    trainer.run(PeriodicCheckpoint(str(tmp_path / "c"), 3, keep=1), 7)
    assert trainer.saved == [(FIRST, []), (SECOND, [FIRST]), (LAST, [SECOND])]
    assert [path.name for path in (tmp_path / "c").iterdir()] == [LAST]


def test_newest_checkpoints_are_kept_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").touch()
    (tmp_path / ".step_0000002.aa.partial.ckpt").touch()
    FakeTrainer().run(PeriodicCheckpoint(str(tmp_path), 3, keep=2), 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", SECOND, LAST]


def test_only_checkpoints_of_the_run_are_deleted_and_the_last_steps_stay(tmp_path: Path) -> None:
    """Whatever the times of the files, and although names are those of checkpoints."""
    own = [write_checkpoint(tmp_path, step) for step in (1, 2)]
    os.utime(own[0], (4e9, 4e9))
    other = write_checkpoint(tmp_path, 0, run="b")
    renamed = write_checkpoint(tmp_path, 1, "step_0000004.ckpt")
    notes = [tmp_path / name for name in ("step_x.ckpt", "step_0000005.ckpt", "notes.txt", ".mine.partial.ckpt")]
    for path in notes:
        path.write_text("mine")
    os.utime(notes[1], (4e9, 4e9))
    link = tmp_path / "step_0000000002.ckpt"
    link.symlink_to(tmp_path / "gone")
    callback = PeriodicCheckpoint(str(tmp_path), 3, keep=2)
    callback.run, calls = "a", []
    callback.after_save = lambda: calls.append(sorted(path.name for path in tmp_path.glob("step_000000[1236].ckpt")))
    FakeTrainer().run(callback, 6)
    left = {FIRST, SECOND, other.name, renamed.name, link.name, *(path.name for path in notes)}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert calls == [[own[0].name, own[1].name, FIRST], [own[1].name, FIRST, SECOND]]


@pytest.mark.parametrize("batches", [1, 2])
def test_validated_step_is_saved_after_its_validation(tmp_path: Path, batches: int) -> None:
    trainer = FakeTrainer(batches, validate_every=2 * batches)
    trainer.run(PeriodicCheckpoint(str(tmp_path / "c"), 3, keep=1), 7)
    assert trainer.saved == ["validation", (FIRST, []), "validation", "validation", (SECOND, [FIRST]), (LAST, [SECOND])]


def test_other_ranks_save_and_delete_nothing(tmp_path: Path) -> None:
    trainer = FakeTrainer(is_global_zero=False)
    trainer.run(PeriodicCheckpoint(str(tmp_path / "c"), 3, keep=1), 7)
    assert len(trainer.saved) == 3 == len(list((tmp_path / "c").iterdir()))


def test_nonpositive_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps=0, keep=2; expected at least 1"):
        PeriodicCheckpoint("c", 0)
    with pytest.raises(ValueError, match="keep=0"):
        PeriodicCheckpoint("c", 1, keep=0)


class Noise(SegmentorStage):
    """Fast stage: one random number moves one weight tensor."""

    def __init__(self) -> None:
        super().__init__(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        return {"noise": torch.rand(()) * model.segmentor.parts()["class_head"].weight.square().sum()}


class Diary(Callback):
    """Records validations, and fails at a given one."""

    def __init__(self, fails_validating: int | None = None) -> None:
        self.fails_validating = fails_validating
        self.validations: list[tuple[int, float]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.fails_validating:
            raise RuntimeError("the machine is gone")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations.append((trainer.global_step, float(trainer.callback_metrics["val/miou"])))


def fit(folder: Path, diary: Diary, accumulate: int, checkpoint: Path | None = None) -> list[torch.Tensor]:
    trainer = tiny_trainer(folder, 6, 2, diary, val_check_interval=2 * accumulate, accumulate_grad_batches=accumulate)
    module = tiny_module(Noise())
    trainer.fit(module, tiny_data(6), ckpt_path=checkpoint, weights_only=True)
    return list(module.parameters())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_run_killed_during_a_validation_repeats_it(tmp_path: Path, accumulate: int) -> None:
    whole, killed, resumed = Diary(), Diary(fails_validating=4), Diary()
    expected = fit(tmp_path / "whole", whole, accumulate)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        fit(tmp_path / "killed", killed, accumulate)
    checkpoint = tmp_path / "killed" / "step_0000002.ckpt"
    found = fit(tmp_path / "killed", resumed, accumulate, checkpoint)
    assert killed.validations + resumed.validations == whole.validations and len(whole.validations) == 3
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
