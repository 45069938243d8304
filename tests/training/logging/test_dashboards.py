"""An offline run, read back record by record, contains every key of docs/wandb.md."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest
from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger

from src.commands.train import train
from src.inference.evaluation.clips import EvaluationOptions, evaluate_clips
from src.inference.video.decoder import VideoFrames
from src.losses.mask_classification import MaskClassificationLoss
from src.training.logging.dashboards import OverlayClip, StreamedScore, git_state
from src.training.stages import PropagationStage
from tests.inference.tiny import CLASSES, FakeClips
from tests.inference.videos import count_frames
from tests.tiny_run import ROOT, compose_train, overrides
from tests.training.tiny_fit import tiny_data, tiny_module, tiny_trainer
from tests.wandb_runs import logged_bytes

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]


def test_an_offline_run_contains_every_key_of_the_page(tmp_path: Path) -> None:
    settings = [
        line
        for line in overrides(tmp_path / "scenes", tmp_path)
        if not line.startswith(("callbacks.overlay", "callbacks.model_cost"))
    ]
    train(
        compose_train(
            *settings, "stage=segmentor", "logger=wandb", "trainer.max_steps=2", "trainer.val_check_interval=2",
            "data.val_samples=2", "trainer.log_every_n_steps=1", "callbacks.overlay.num_frames=5", "upload_model=true", "job=7",
        )
    )  # fmt: skip
    import wandb

    wandb.finish()
    (run,) = (tmp_path / "default" / "segmentor" / "wandb").glob("offline-run-*")
    logged = logged_bytes(run)
    page = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    keys = [key for key in re.findall(r"`((?:train|val|model)/[\w/]+)`", table)]
    assert len(keys) >= 13
    # The segmentor's stage has no motion.
    absent = [key for key in keys if key.encode() not in logged]
    assert absent == ["val/epe", *(key for key in keys if "disoccluded" in key), "val/streamed_miou"]
    assert (b"default-segmentor-7" in logged and b'"commit"' in logged) or b"commit" in logged
    media = run / "files" / "media"
    (video,) = (media / "videos" / "val").glob("overlay_*.mp4")
    assert count_frames(video) == 5
    assert list((media / "images" / "val").glob("pictures_*.png"))
    (classes,) = (media / "table" / "val").glob("iou_per_class_*.table.json")
    assert [row[0] for row in json.loads(classes.read_text())["data"]][:2] == ["sky", "ground"]
    own = tmp_path / "default" / "segmentor" / "overlays" / "step_0000002.mp4"
    assert sum(1 for _ in VideoFrames(own)) == 5


@pytest.mark.parametrize("key_interval", [1, 4])
def test_clips_are_streamed_after_training(tmp_path: Path, key_interval: int) -> None:
    module, logger = tiny_module(PropagationStage(MaskClassificationLoss(len(CLASSES), num_points=64))), CSVLogger(tmp_path)
    trainer = tiny_trainer(tmp_path, 1, 1, StreamedScore(key_interval, max_clips=1), logger=logger)
    trainer.fit(module, tiny_data(1))
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()))
    (score,) = [float(row["val/streamed_miou"]) for row in rows if row.get("val/streamed_miou")]
    clips = FakeClips()
    clips.clips = clips.clips[:1]
    assert score == pytest.approx(
        evaluate_clips(module.propagator, clips, key_interval, EvaluationOptions(key_frame_offsets="first")).miou
    )


def test_the_key_interval_of_a_run_is_one() -> None:
    callbacks = compose_train("key_interval=3").callbacks
    assert [callbacks[name].key_interval for name in ("overlay", "model_cost", "streamed_score")] == [3, 3, 3]


def test_tensorboard_takes_the_curves(tmp_path: Path) -> None:
    node = compose_train("logger=tensorboard", f"run_dir={tmp_path}").logger.tensorboard
    logger = instantiate(node)
    logger.log_metrics({"val/miou": 0.5}, step=3)
    logger.finalize("success")
    assert list((tmp_path / "tensorboard" / "version_0").glob("events.out.tfevents.*"))


def test_the_git_state_is_that_of_the_code(tmp_path: Path) -> None:
    assert git_state(tmp_path / "nowhere") == {}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").touch()
    (tmp_path / ".gitignore").write_text("venv\n")
    subprocess.run([*git, "add", "code.py", ".gitignore"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    state = git_state(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", str(state["commit"])) and state["changed"] is False
    (tmp_path / "new.py").touch()
    assert git_state(tmp_path)["changed"] is True
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "installed.py").touch()
    assert git_state(tmp_path / "venv") == {}


def test_an_overlay_of_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="num_frames is 0"):
        OverlayClip("folder", num_frames=0)
