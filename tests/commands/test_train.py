"""The three stages end to end: learning, frozen parts, logs and errors. Resuming is in tests/test_reliability.py."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning import Trainer
from torch import Tensor

from src.commands.train import replay, train
from src.data.pairs.dataset import PairDataset
from src.data.pairs.sampling import FixedOffsetSampling
from src.data.samples import PairBatch
from src.inference.methods import with_method
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
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


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FAST = ("stage=segmentor", "trainer.max_steps=2", "trainer.val_check_interval=2", "data.val_samples=1", "callbacks.pictures=null")


@pytest.fixture
def earlier(run: Run, tmp_path: Path) -> Path:
    """Folder of a finished run."""
    run(*FAST)
    return tmp_path / "default" / "segmentor"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, FloatingPointError, OSError])
def test_overwrite_restores_the_earlier_run_if_the_new_one_ends_before_its_first_checkpoint(
    run: Run, earlier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ending: type[BaseException]
) -> None:
    before = tree(earlier)

    def end(self: ProgressLines, trainer: Trainer, *_: object) -> None:
        assert (earlier / "earlier_run" / "checkpoints" / "step_0000002.ckpt").is_file() and not (earlier / "model").exists()
        raise ending("of this test")

    monkeypatch.setattr(ProgressLines, "on_train_batch_end", end)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit if ending is KeyboardInterrupt else ending):
            run(*FAST, "overwrite=true", "seed=1")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert before.items() <= tree(earlier).items() and not (earlier / "earlier_run").exists()
    assert f"the earlier run in {earlier} is restored" in caplog.text
    monkeypatch.undo()
    assert run(*FAST, "resume=true") == {}


def test_overwrite_that_is_refused_touches_nothing(run: Run, earlier: Path) -> None:
    before = tree(earlier)
    for wrong in ("stage.objective.trainable=[segmentor.decoder]", f"stage.init_from={earlier}/model"):
        with pytest.raises(ValueError, match=r"unknown|overwrite=true replaces"):
            run(*FAST, "overwrite=true", wrong)
        assert tree(earlier) == before
    for option in ("overwrite='no'", "resume='no'", "resume='yes'"):
        with pytest.raises(ValueError, match="expected true, false or force"):
            run(*FAST, option)
        assert tree(earlier) == before


def test_overwritten_run_leaves_nothing_behind(run: Run, earlier: Path) -> None:
    (earlier / "checkpoints" / "step_x.ckpt").write_text("mine")
    (earlier / "pictures" / "step_0000009").mkdir(parents=True)
    (earlier / "pictures" / "step_0000009" / "00.png").write_text("of the earlier run")
    run(*FAST, "overwrite=true", "trainer.max_steps=1", "trainer.val_check_interval=1")
    names = sorted(path.relative_to(earlier).as_posix() for path in earlier.rglob("*") if path.is_file())
    assert names == [
        "checkpoints/best.ckpt", "checkpoints/step_0000001.ckpt", "checkpoints/step_x.ckpt", "csv/version_0/hparams.yaml",
        "csv/version_0/metrics.csv", "model/config.json", "model/model.safetensors", "run.json",
    ]  # fmt: skip
    assert (earlier / "checkpoints" / "step_x.ckpt").read_text() == "mine"


def test_overwrite_in_a_folder_without_a_run_leaves_its_files(run: Run, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    mine = ("letter.odt", "pictures/holiday.png", "csv/data.csv", "checkpoints/step_x.ckpt", "model.txt")
    for name in mine:
        (documents / name).parent.mkdir(parents=True, exist_ok=True)
        (documents / name).write_text("mine")
    for _ in range(2):
        run(*FAST, "overwrite=true", f"run_dir={documents}")
        assert all((documents / name).read_text() == "mine" for name in mine)


@pytest.mark.parametrize("name", ["pictures/step_0000002/00.png", "csv/version_0/metrics.csv", "checkpoints/best.ckpt"])
@pytest.mark.parametrize("option", ["overwrite=true", "resume=true", "resume=false"])
def test_folder_without_a_run_in_which_names_of_its_files_are_taken_is_refused(
    run: Run, tmp_path: Path, name: str, option: str
) -> None:
    path = tmp_path / "documents" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} exists, and .*documents contains no run of this project"):
        run(*FAST, option, f"run_dir={tmp_path / 'documents'}")
    assert tree(tmp_path / "documents") == {name: b"mine"}


CHANGES = {
    "batch_size=1": ("batch_size: 2 -> 1", "pairs per step: 2 -> 1"),
    "stage.optim.lr=0.5": ("stage.optim.lr: 0.0001 -> 0.5",),
    "seed=7": ("seed: 0 -> 7",),
    "trainer.precision=bf16-mixed": ("trainer.precision: 32-true -> bf16-mixed",),
    "mask_loss.dice_weight=4": ("mask_loss.dice_weight: 5.0 -> 4",),
    "trainer.max_steps=3": ("trainer.max_steps: 2 -> 3",),
    "trainer.accumulate_grad_batches=2": ("passes per step: 1 -> 2",),
    "model.segmentor.num_queries=9": ("model.segmentor.num_queries: ", "-> 9"),
    "stage.objective.trainable=[segmentor.class_head]": ("stage.objective.trainable",),
    "data.train_transform=null": ("data.train_transform",),
    "samples_per_pair=2": ("samples_per_pair: 1 -> 2",),
    "global_batch_size=4": ("pairs per step: 2 -> 4", "passes per step: 1 -> 2"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resuming_with_other_settings_is_refused_key_by_key(
    stages: Path, scenes: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Before anything is written."""
    before = tree(stages / "segmentor")
    settings = [*overrides(scenes, stages.parent), "stage=segmentor", BATCH_NORM, "trainer.max_steps=6", "resume=true"]
    expected = tuple(part.replace("trainer.max_steps: 2", "trainer.max_steps: 6") for part in CHANGES[change])
    with pytest.raises(ValueError, match=r"setting\(s\) of its run differ: .*resume=force continues"):
        train(compose_train(*settings, change))
    assert all(part in caplog.text for part in expected), caplog.text
    assert tree(stages / "segmentor") == before


SAME = ("num_workers=1", "logger=none", "trainer.log_every_n_steps=7", "data.on_corrupt=skip",
        "data.max_skipped=3", "callbacks.checkpoint.every_n_steps=1", "name=default", "monitor=val/miou",
        "trainer.num_sanity_val_steps=1", "global_batch_size=2")  # fmt: skip


def test_resuming_with_settings_without_an_effect_on_results_is_accepted(
    stages: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenes)
    same = [*overrides(Path("."), stages.parent), "stage=segmentor", BATCH_NORM, "resume=true", *SAME]
    same[0] = "paths.data=../" + scenes.name  # another name of the folder
    assert train(compose_train(*same)) == {}


def test_resuming_with_other_data_in_the_same_folder_is_refused(run: Run, scenes: Path, tmp_path: Path) -> None:
    """A video and a class that have changed under their names, and a model that a stage started from."""
    own = tmp_path / "data"
    shutil.copytree(scenes, own)
    run(*FAST, f"paths.data={own}")
    (video,) = (own / "moving_scenes" / "data").glob("train_*")
    images = sorted(video.glob("origin/*.jpg"))
    images[-1].unlink()
    sorted(video.glob("mask/*.png"))[-1].unlink()
    with pytest.raises(ValueError, match=r"clips of train: 1 with 8 frames, sha256 \w+ -> 1 with 7 frames"):
        run(*FAST, f"paths.data={own}", "resume=true")
    with pytest.raises(ValueError, match=r"data.root: .*scenes"):
        run(*FAST, "resume=true")
    assert run(*FAST, f"paths.data={own}", "resume=force") == {}
    flow = ["stage=flow", *FAST[1:], f"paths.data={own}"]
    run(*flow)
    run(*FAST, f"paths.data={own}", "overwrite=true", "seed=3")
    with pytest.raises(ValueError, match=r"stage.init_from: model.safetensors of sha256 \w+ -> model.safetensors of sha256"):
        run(*flow, "resume=true")


def test_resume_force_continues_with_the_new_settings(run: Run, earlier: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(*FAST, "resume=force", "trainer.max_steps=3", "trainer.val_check_interval=3", "stage.optim.lr=0.001")
    assert "stage.optim.lr: 0.0001 -> 0.001" in caplog.text and "trainer.max_steps: 2 -> 3" in caplog.text
    (older, newer) = (torch.load(path, weights_only=True)["run"] for path in sorted(earlier.glob("checkpoints/step_*.ckpt")))
    assert newer["id"] == older["id"] and newer["settings"]["stage.optim.lr"] == 0.001 and newer["sha256"] != older["sha256"]


def test_forced_settings_are_in_force_from_the_next_step(run: Run, tmp_path: Path) -> None:
    """Learning rate, decay and passes per step are part of the restored state, and yet the new ones count."""
    slow = [*FAST, "trainer.max_steps=4", "trainer.val_check_interval=4", "stage.optim.power=0", "trainer.log_every_n_steps=1"]
    run(*slow, "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.accumulate_grad_batches=2")
    scores = run(*slow, "resume=force", "stage.optim.lr=0.003", "stage.optim.weight_decay=0.5", "batch_size=1")
    folder = tmp_path / "default" / "segmentor"
    rows = csv.DictReader((folder / "csv" / "version_1" / "metrics.csv").open())
    rates = {int(row["step"]): float(row["train/learning_rate"]) for row in rows if row["train/learning_rate"]}
    assert rates == {2: pytest.approx(0.003), 3: pytest.approx(0.003)} and "val/miou" in scores
    saved = torch.load(folder / "checkpoints" / "step_0000004.ckpt", weights_only=True)
    groups = saved["optimizer_states"][0]["param_groups"]
    assert saved["global_step"] == 4 and {group["weight_decay"] for group in groups} == {0.0, 0.5}
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 4
    assert [path.name for path in folder.glob("checkpoints/step_*")] and saved["run"]["settings"]["passes per step"] == 1


def test_checkpoint_of_an_earlier_release_resumes_with_a_warning(
    run: Run, earlier: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (earlier / "run.json").unlink()
    path = earlier / "checkpoints" / "step_0000002.ckpt"
    content = torch.load(path, weights_only=True)
    del content["run"]
    torch.save(content, path)
    run(*FAST, "resume=true", "trainer.max_steps=5", "callbacks.checkpoint.every_n_steps=1", "trainer.val_check_interval=5")
    assert "is of an earlier release, without the settings of its run" in caplog.text
    names = sorted(path.name for path in earlier.glob("checkpoints/step_*"))
    assert names == ["step_0000004.ckpt", "step_0000005.ckpt"]


def test_replay_beside_a_replaced_run_touches_nothing(run: Run, earlier: Path, scenes: Path, tmp_path: Path) -> None:
    """The failed run's message names a folder that is still there, and its whole command may be repeated."""
    failing = [*FAST, "overwrite=true", "stage.optim.lr=1e30", "trainer.max_steps=9", "trainer.val_check_interval=9"]
    with pytest.raises(FloatingPointError):
        run(*failing)
    (broken,) = (earlier / "broken").iterdir()
    before = tree(earlier)
    replay(compose_train(*overrides(scenes, tmp_path), *failing, f"replay={broken}"))
    assert tree(earlier) == before and (earlier / "model" / "config.json").is_file()


@pytest.mark.parametrize(
    "settings, advice",
    [
        (["stage=flow", "model/flow=copy"], "choose a network, such as model/flow=query"),
        (["stage=flow", "model/flow=dis"], "choose a network, such as model/flow=query"),
        (["stage=propagation", "model/flow=copy"], "choose a network"),
        (["stage=propagation", "model/flow=dis"], "choose a network"),
        (
            ["stage=propagation", "stage.flow=null"],
            "segmentor/model has no trained flow: run stage=flow and start from its model",
        ),
        (["stage=flow", "stage.flow=null"], "has no trained flow"),
    ],
)
def test_stage_with_nothing_to_train_is_an_error_before_training(
    stages: Path, scenes: Path, tmp_path: Path, settings: list[str], advice: str
) -> None:
    # The estimators without parameters have none of the settings of networks.
    base = [setting for setting in overrides(scenes, stages.parent) if not setting.startswith("model.flow.")]
    with pytest.raises(
        ValueError, match=r"stage.objective.trainable: flow is a \w+ without trainable parameters; expected some"
    ) as raised:
        train(compose_train(*base, *settings, f"run_dir={tmp_path / 'run'}"))
    assert advice in str(raised.value) and not (tmp_path / "run").exists()


def test_model_to_start_from_without_an_effect_is_an_error(run: Run, stages: Path) -> None:
    with pytest.raises(ValueError, match=r"stage.init_from=.*model has no effect, as stage.segmentor and stage.flow are fresh"):
        run("stage=segmentor", f"stage.init_from={stages}/segmentor/model")


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
