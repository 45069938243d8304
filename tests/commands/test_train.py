"""The three stages end to end: learning, frozen parts, logs and errors. Resuming is in tests/test_reliability.py."""

from __future__ import annotations

import csv
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning import Trainer
from torch import Tensor

from src.commands.train import train
from src.data.pairs.dataset import PairDataset
from src.data.pairs.sampling import FixedOffsetSampling
from src.inference.methods import with_method
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.structures import PairBatch
from src.training.logging.progress import ProgressLines
from src.training.stages import SegmentorStage
from src.weights.model_folder import load_model
from tests.tiny_run import compose_train, overrides

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint"),
]
# The tiny backbone has none, and its statistics must not move in a frozen one.
BATCH_NORM = "model.segmentor.backbone=efficientnet_lite0"
STAGES = ("segmentor", "flow", "propagation")
Run = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture
def run(scenes: Path, tmp_path: Path) -> Run:
    """Train a tiny run like ``python -m src.train``, into ``tmp_path / "default"``."""

    def start(*extra: str) -> dict[str, float]:
        return train(compose_train(*overrides(scenes, tmp_path), *extra))

    return start


@pytest.fixture(scope="module")
def stages(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with all three stages."""
    runs = tmp_path_factory.mktemp("runs")
    for stage in STAGES:
        train(compose_train(*overrides(scenes, runs), f"stage={stage}", BATCH_NORM))
    return runs / "default"


def weights(folder: Path) -> dict[str, Tensor]:
    return load_model(folder)[0].state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def column(run_dir: Path, name: str) -> list[float]:
    rows = [row for path in sorted(run_dir.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return [float(row[name]) for row in rows if row.get(name)]


def test_each_stage_leaves_a_model_that_loads(stages: Path) -> None:
    for stage, flow in zip(STAGES, ("copy", "query", "query"), strict=True):
        model, metadata = load_model(stages / stage / "model")
        assert metadata["stage"] == stage and metadata["data"] == "moving_scenes" and metadata["classes"][:2] == ["sky", "ground"]
        assert json.loads((stages / stage / "model" / "config.json").read_text())["flow"]["name"] == flow
        # A checkpoint of the last step is a model too, though 6 is no multiple of the interval.
        names = sorted(path.name for path in (stages / stage / "checkpoints").iterdir())
        assert names == ["best.ckpt", "step_0000004.ckpt", "step_0000006.ckpt"]
        best, validated, last = (weights(stages / stage / "checkpoints" / name) for name in names)
        assert equal(last, model.state_dict()) and equal(best, validated)
        assert [path.name for path in (stages / stage / "pictures").iterdir()] == ["step_0000004"]


def test_later_stages_start_from_earlier_ones_and_frozen_parts_do_not_move(stages: Path) -> None:
    segmentor, flow, propagation = (weights(stages / stage / "model") for stage in STAGES)
    of_segmentor = {name for name in segmentor if name.startswith("segmentor.")}
    moved = {name for name in of_segmentor if not torch.equal(segmentor[name], propagation[name])}
    assert all(torch.equal(segmentor[name], flow[name]) for name in of_segmentor)
    assert moved and all("mask_embedder" in name or "class_predictor" in name for name in moved)
    assert any("running_mean" in name for name in of_segmentor)


@pytest.mark.parametrize("stage", STAGES)
def test_logs_have_the_promised_names(stages: Path, stage: str) -> None:
    assert len(column(stages / stage, "train/loss")) == 3
    names = ["train/gradient_norm", "train/learning_rate", "train/seconds_per_step", "val/miou", "val/wiou"]
    names += {"flow": ["train/loss_pixel_flow", "train/loss_segment_flow"]}.get(
        stage, ["train/loss_class", "train/loss_mask", "train/loss_dice"]
    )
    assert all(column(stages / stage, name) for name in names)
    assert bool(column(stages / stage, "val/epe")) == (stage != "segmentor")
    header = next(iter((stages / stage).glob("csv/*/metrics.csv"))).read_text().splitlines()[0]
    assert ("val/miou_offset_" in header) == (stage != "segmentor")
    assert all(name in ("epoch", "step") or name.startswith(("train/", "val/")) for name in header.split(","))
    (rate, *_) = column(stages / stage, "train/learning_rate")
    base = compose_train(f"stage={stage}").stage.optim.lr
    assert rate == pytest.approx(base * (1 - 1 / 6) ** 0.9)


def test_run_is_not_overwritten_without_overwrite(run: Run, tmp_path: Path) -> None:
    run("stage=segmentor", "logger=none")
    first = weights(tmp_path / "default" / "segmentor" / "model")
    with pytest.raises(FileExistsError, match="resume=true to continue it, overwrite=true to replace it"):
        run("stage=segmentor", "logger=none")
    # A finished run is not trained again.
    assert run("stage=segmentor", "logger=none", "resume=true") == {}
    assert equal(weights(tmp_path / "default" / "segmentor" / "model"), first)
    run("stage=segmentor", "logger=none", "overwrite=true", "seed=1")
    assert not equal(weights(tmp_path / "default" / "segmentor" / "model"), first)


def test_missing_input_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"stage.init_from=.*segmentor/model does not exist; run the earlier stage first"):
        run("stage=flow")
    assert not (tmp_path / "default").exists()
    with pytest.raises(ValueError, match=r"segmentor.* unknown"):
        run("stage=segmentor", "stage.objective.trainable=[segmentor.decoder]")


def test_nan_loss_names_its_samples(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SegmentorStage.losses

    def broken(self: SegmentorStage, model: Propagator, batch: PairBatch) -> dict[str, Tensor]:
        terms = plain(self, model, batch)
        return terms | {"mask": terms["mask"] * torch.nan} if 4 in batch.sample_id else terms

    monkeypatch.setattr(SegmentorStage, "losses", broken)
    with pytest.raises(FloatingPointError, match=r"step 2: loss mask is not finite on \S+/\d+->\d+, \S+/\d+->\d+"):
        run("stage=segmentor")


def test_half_precision_trains(run: Run, tmp_path: Path) -> None:
    for stage in STAGES:
        scores = run(f"stage={stage}", "trainer.precision=bf16-mixed", "logger=none", "trainer.max_steps=2", "data.val_samples=1")
        assert 0 < scores["train/loss"] < 1000
        assert all(
            value.dtype == torch.float32
            for value in weights(tmp_path / "default" / stage / "model").values()
            if value.is_floating_point()
        )


def test_ctrl_c_logs_how_to_resume(run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def interrupt(self: ProgressLines, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLines, "on_train_batch_end", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            run("stage=segmentor")
    finally:
        # Lightning ignores the signal from the first one on.
        signal.signal(signal.SIGINT, handler)
    assert "stopped at step 5; the same command with resume=true continues" in caplog.text
    monkeypatch.undo()
    with caplog.at_level(logging.INFO):
        assert run("stage=segmentor", "resume=true")
    assert "step_0000004.ckpt" in caplog.text


def pair_iou(model: Propagator, pairs: PairDataset) -> float:
    iou = MeanIoU(pairs.dataset.num_classes)
    with torch.inference_mode():
        for sample in (pairs[number].sample for number in range(len(pairs))):
            prediction, _ = model(sample.key_image[None], sample.nonkey_image[None])
            iou.update(semantic_map(prediction, sample.nonkey_label.shape[-2:]), sample.nonkey_label[None].long())
    return float(iou.compute()["miou"])


@pytest.mark.slow
def test_trained_propagation_scores_above_copying(run: Run, scenes: Path, tmp_path: Path) -> None:
    """On the training clip: training learns its motion; so small a network does not generalise."""
    settings = ["batch_size=4", "logger=none", "mask_loss.num_points=256", "data.train_transform=null", "data.val_samples=1"]
    settings += ["stage.optim.lr=2e-3", "stage.optim.backbone_factor=1", "trainer.gradient_clip_val=1.0"]
    settings += ["callbacks.pictures=null", "callbacks.checkpoint.every_n_steps=1000", "trainer.log_every_n_steps=20"]
    losses = {}
    for stage, steps in (("segmentor", 120), ("flow", 100)):
        start = run(
            f"stage={stage}", *settings, "trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.log_every_n_steps=1"
        )
        end = run(
            f"stage={stage}", *settings, f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", "overwrite=true"
        )
        losses[stage] = (start["train/loss"], end["train/loss"])
    assert losses["segmentor"][1] < 0.4 * losses["segmentor"][0] and losses["flow"][1] < 0.5 * losses["flow"][0]
    model, _ = load_model(tmp_path / "default" / "flow" / "model")
    pairs = PairDataset(
        instantiate(compose_train(*overrides(scenes, tmp_path)).data.train), FixedOffsetSampling(-6), num_samples=8, seed=1
    )
    copied, carried = (pair_iou(with_method(model, name), pairs) for name in ("copy", "query"))
    assert carried > copied + 0.04
