"""Two processes (gloo, CPU) match one process in training losses."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from src.commands.train import train
from src.weights.model_folder import load_model
from tests.launching import run
from tests.tiny_run import ROOT, compose_train, overrides

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]
STEPS = 20
TRAINING = [
    "stage=segmentor", f"trainer.max_steps={STEPS}", f"trainer.val_check_interval={STEPS}", "trainer.log_every_n_steps=1",
    "data.val_samples=5", "global_batch_size=4",
    "callbacks.pictures=null", "callbacks.checkpoint.every_n_steps=100",
]  # fmt: skip
# The paper's query flow, by the loss of the carried masks and by end-point errors.
PROPAGATION = [
    "stage=propagation", "trainer.max_steps=4", "trainer.log_every_n_steps=1",
    "stage.objective.flow_loss={_target_: src.losses.flow.FlowLoss}",
]  # fmt: skip
FUSION = ["stage=fusion", "trainer.max_steps=4", "trainer.val_check_interval=4", "trainer.log_every_n_steps=1"]


class Both(NamedTuple):
    """Result folders of one and of two processes."""

    one: Path
    two: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    one, two, scenes = folder / "one", folder / "two", folder / "scenes"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(compose_train(*overrides(scenes, one), *TRAINING, "batch_size=4", "name=ddp"))
        start = f"stage.init_from={one}/ddp/segmentor/model"
        train(compose_train(*overrides(scenes, one), *PROPAGATION, start))
        model = one / "default" / "propagation" / "model"
        train(compose_train(*overrides(scenes, one), *FUSION, f"stage.init_from={model}"))
    finally:
        torch.set_num_threads(threads)
    commands: list[list[str]] = []
    for strategy, steps in (("ddp", STEPS), ("fsdp", 4)):
        more = ["trainer.precision=32-true", "trainer.strategy.block_size=500"] if strategy == "fsdp" else []
        commands.append([
            "src.train", *overrides(scenes, two), *TRAINING, "batch_size=2", f"name={strategy}", f"trainer={strategy}",
            "trainer.devices=2", f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", *more,
        ])  # fmt: skip
    commands.append([
        "src.train", *overrides(scenes, two), *PROPAGATION, start, "batch_size=1", "trainer=ddp", "trainer.devices=2",
    ])  # fmt: skip
    own_flow = (each for each in overrides(scenes, two) if not each.startswith("model.flow."))
    commands.append([
        "src.train", *own_flow, *FUSION, f"stage.init_from={model}", "batch_size=1", "trainer=ddp",
        "trainer.devices=2",
    ])  # fmt: skip
    # Without further losses, confidence and disocclusion head are frozen.
    commands.append([
        "src.train", "stage=flow",
        *(each for each in overrides(scenes, two) if not each.startswith(("model.flow.", "callbacks.streamed"))),
        "model/flow=correlation_small", "name=flow",
        start, "batch_size=1", "trainer=ddp", "trainer.devices=2", "trainer.max_steps=3",
        "trainer.val_check_interval=3", "trainer.log_every_n_steps=1", "data.val_samples=2",
    ])  # fmt: skip
    (folder / "commands.json").write_text(json.dumps(commands))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = run([*torchrun, str(ROOT / "tests" / "several_ranks.py"), str(folder / "commands.json")])
    assert done.returncode == 0, done.stderr[-6000:]
    return Both(one, two)


def losses(run_dir: Path, stage: str = "segmentor") -> list[dict[str, float]]:
    (path,) = run_dir.glob(f"{stage}/csv/*/metrics.csv")
    rows = [row for row in csv.DictReader(path.open()) if row.get("train/loss")]
    return [{name: float(row[name]) for name in row if name.startswith("train/loss")} for row in rows]


def test_training_losses_are_those_of_one_process(both: Both) -> None:
    """Both normalizers are reduced over the ranks, and random draws depend on seed and sample number."""
    one, two = losses(both.one / "ddp"), losses(both.two / "ddp")
    assert len(one) == len(two) == STEPS
    for alone, together in zip(one, two, strict=True):
        assert together["train/loss"] == pytest.approx(alone["train/loss"], rel=1e-4)
        # Rounding may move one uncertain point of a mask.
        assert together == pytest.approx(alone, rel=1e-3)
    assert one[0]["train/loss"] != pytest.approx(one[-1]["train/loss"], rel=1e-3)


def test_query_flow_trains_as_in_one_process(both: Both) -> None:
    one, two = (losses(folder / "default", "propagation") for folder in both)
    assert len(one) == len(two) == 4
    for alone, together in zip(one, two, strict=True):
        assert {"train/loss_mask", "train/loss_pixel_flow", "train/loss_segment_flow"} < alone.keys()
        assert together["train/loss"] == pytest.approx(alone["train/loss"], rel=1e-4)
        assert together == pytest.approx(alone, rel=1e-3)


def test_the_fusion_head_trains_as_in_one_process(both: Both) -> None:
    one, two = (losses(folder / "default", "fusion") for folder in both)
    assert len(one) == len(two) == 4
    for alone, together in zip(one, two, strict=True):
        assert "train/loss_fused" in alone
        assert together == pytest.approx(alone, rel=1e-3)


def test_fully_sharded_training_has_the_same_losses_and_saves_the_whole_model(both: Both) -> None:
    one, sharded = losses(both.one / "ddp")[:2], losses(both.two / "fsdp")
    # The learning rate falls with the number of steps, so only the first two steps are those of the longer run.
    assert sharded[0] == pytest.approx(one[0], rel=1e-4) and sharded[1] == pytest.approx(one[1], rel=1e-3)
    model, _ = load_model(both.two / "fsdp" / "segmentor" / "model")
    (checkpoint,) = (both.two / "fsdp" / "segmentor" / "checkpoints").glob("step_*.ckpt")
    for name, value in load_model(checkpoint)[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_flow_trains_with_unsupervised_branches(both: Both) -> None:
    (path,) = (both.two / "flow" / "flow").glob("csv/*/metrics.csv")
    steps = [row for row in csv.DictReader(path.open()) if row.get("train/loss")]
    assert len(steps) == 3 and (both.two / "flow" / "flow" / "model" / "config.json").is_file()
    # At the end both shared out the clips of the streamed score.
    assert len([row for row in csv.DictReader(path.open()) if row.get("val/streamed_miou")]) == 1
