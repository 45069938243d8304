"""Training of a clip segmentor end to end: its model, logs and errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.commands.train import replay, train
from src.data.samples import PairBatch
from src.models.clip_segmentors.base import ClipSegmentor
from src.training.clips import ClipStage
from src.weights.clip_folder import load_clip_model
from tests.tiny_run import STEPS, compose_train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]
TINY = ["widths=[4,8,10,16]", "depths=[1,1,1,1]", "embed_dim=8"]
SCENES = ["data.scenes.num_clips=1", "data.scenes.num_frames=10", "data.scenes.size=[64,96]"]
SHORT = ["trainer.max_steps=2", "trainer.val_check_interval=2", "data.val_samples=1"]
Run = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture
def run(scenes: Path, tmp_path: Path) -> Run:
    """Train a tiny network like ``python -m src.train``, into ``tmp_path / "default" / "clips"``."""
    steps = [step for step in STEPS if not step.endswith("=null") or "progress_bar" in step]

    def start(*extra: str, call: Callable[..., dict[str, float]] = train) -> dict[str, float]:
        network = [f"model.clip_segmentor.{setting}" for setting in TINY]
        folders = [f"paths.data={scenes}", f"paths.runs={tmp_path}"]
        return call(compose_train(*folders, *SCENES, "stage=clips", *network, *steps, *SHORT, *extra))

    return start


def test_a_run_leaves_a_model_checkpoints_pictures_and_logs(run: Run, tmp_path: Path) -> None:
    scores = run()
    assert 0 <= scores["val/miou"] <= 1 and scores["train/loss"] > 0
    folder = tmp_path / "default" / "clips"
    network, metadata = load_clip_model(folder / "model")
    assert metadata["stage"] == "clips" and metadata["data"] == "moving_scenes" and network.num_classes == 8
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "step_0000002.ckpt"]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["step_0000002"]
    header = next(iter(folder.glob("csv/*/metrics.csv"))).read_text().splitlines()[0].split(",")
    assert {"train/loss_clip", "train/loss_frames", "train/gradient_norm", "val/miou", "val/wiou"} <= set(header)
    assert {"model/gflops", "model/parameters", "val/streamed_miou"} <= set(header)
    assert run("resume=true") == {}
    # Another training starts from it.
    run("name=next", "stage.segmentor=null", f"stage.init_from={folder / 'model'}", "logger=none")
    last = load_clip_model(tmp_path / "next" / "clips" / "checkpoints" / "best.ckpt")[0].state_dict()
    assert last.keys() == network.state_dict().keys()


def test_a_failed_step_can_be_repeated(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = ClipStage.losses

    def broken(self: ClipStage, model: ClipSegmentor, batch: PairBatch) -> dict[str, Tensor]:  # type: ignore[type-arg]
        return {name: value * torch.nan for name, value in losses(self, model, batch).items()}

    monkeypatch.setattr(ClipStage, "losses", broken)
    with pytest.raises(FloatingPointError, match=r"loss frames, clip is not finite on train_000"):
        run("logger=none")
    monkeypatch.undo()
    (step,) = (tmp_path / "default" / "clips" / "broken").iterdir()
    assert set(run(f"replay={step}", call=replay)) == {"frames", "clip"}


def test_pairs_are_refused(run: Run) -> None:
    with pytest.raises(ValueError, match=r"has 2 frames; expected clips of 4; choose such a sampling of frames"):
        run("logger=none", "stage.sampling={_target_: src.data.pairs.sampling.FixedOffsetSampling}")
