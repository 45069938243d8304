from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from src.losses.mask_classification import MaskClassificationLoss
from src.training.checkpointing.checkpoint_files import RUN_KEY
from src.training.checkpointing.run_record import RunRecord, differences, flatten
from src.training.stages import SegmentorStage
from tests.inference.tiny import CLASSES
from tests.training.checkpointing.run_folder import write_checkpoint
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {"seed": 0, "stage.optim.lr": 1e-4, "data.root": "data/a", "classes": ["sky", "car"], "model": None}


def fit(folder: Path, *callbacks: Callback) -> Path:
    stage = SegmentorStage(MaskClassificationLoss(len(CLASSES), num_points=32), ["segmentor.class_head"])
    tiny_trainer(folder, 1, 1, *callbacks).fit(tiny_module(stage), tiny_data(1))
    return folder / "step_0000001.ckpt"


def test_every_checkpoint_has_identity_settings_and_hash(tmp_path: Path) -> None:
    record = RunRecord(dict(SETTINGS))
    path = fit(tmp_path, record)
    saved = torch.load(path, weights_only=True)[RUN_KEY]
    assert saved["id"] == record.run and saved["settings"] == SETTINGS and len(saved["sha256"]) == 64
    # The run keeps its identity when it is resumed, with the settings in another order.
    again = RunRecord(dict(reversed(SETTINGS.items())))
    assert again.run != record.run
    again.check(path, force=False)
    assert again.run == record.run


@pytest.mark.parametrize(
    "changed, line",
    [
        ({"stage.optim.lr": 3e-4}, "stage.optim.lr: 0.0001 -> 0.0003"),
        ({"seed": False}, "seed: 0 -> false"),
        ({"model": "a"}, "model: null -> a"),
        ({"new": 1}, "new: (absent) -> 1"),
        ({"classes": ["sky", "bus"]}, 'classes: ["sky", "car"] -> ["sky", "bus"]'),
    ],
)
def test_differences_are_refused_key_by_key_unless_forced(
    tmp_path: Path, changed: dict[str, object], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = fit(tmp_path, RunRecord(dict(SETTINGS)))
    with pytest.raises(ValueError, match=r"1 setting\(s\) of its run differ: ") as raised:
        RunRecord(SETTINGS | changed).check(path, force=False)
    assert line in str(raised.value) and "resume=force" in str(raised.value) and "\n" not in str(raised.value)
    caplog.clear()
    RunRecord(SETTINGS | changed).check(path, force=True)
    assert f"other setting than in {path.name}: {line}" in caplog.text


def test_checkpoint_without_settings_resumes_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    RunRecord(SETTINGS).check(write_checkpoint(tmp_path, 4, run=None), force=False)
    assert "is of an earlier release, without the settings of its run: they are not compared" in caplog.text


def test_two_names_of_a_folder_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert differences({"data.root": "a"}, {"data.root": str(tmp_path / "a")}) == []
    assert differences({"data.root": "a"}, {"data.root": "./b"}) == ["data.root: a -> ./b"]
    assert differences({"data.root": "a"}, {"data.root": "gone"}) == ["data.root: a -> gone"]
    saved, here = "mpvss.training.optim.AdamWPoly", "src.training.optim.AdamWPoly"
    assert differences({"optim": saved}, {"optim": here}) == []
    assert differences({"optim": saved}, {"optim": "src.losses.x"}) == [f"optim: {saved} -> src.losses.x"]
    assert differences({"lr": 1, "x": True}, {"lr": 1.0, "x": 1}) == ["x: true -> 1"]


def test_nested_values_become_dotted_names() -> None:
    steps = [{"low": 0.5}, {"size": [64, 96]}]
    assert flatten({"steps": steps}, "t") == {"t.steps.0.low": 0.5, "t.steps.1.size": [64, 96]}
    names = [f"class number {number}" for number in range(9)]
    assert flatten(names, "classes")["classes.3"] == "class number 3"


class Later(Callback):
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.broadcast = lambda value: value + 1


def test_processes_that_start_at_different_steps_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="process 0 starts at step 0; expected 1, as the first one"):
        fit(tmp_path, Later(), RunRecord(SETTINGS))
