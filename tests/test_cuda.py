"""Laws on a GPU, skipped without one: masks and training losses of the CPU, half precision, NCCL."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

from src.commands.predict import predict
from src.commands.train import train
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.models.propagator import Propagator
from src.weights.model_folder import load_model, save_model
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import make_video
from tests.launching import run
from tests.tiny_run import ROOT, compose_train, overrides

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use by CUDA"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]
STEPS = [
    "trainer.max_steps=4", "trainer.val_check_interval=4", "trainer.log_every_n_steps=1", "callbacks.pictures=null",
    "model.segmentor.drop_path=0",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _whole_float32() -> Iterator[None]:
    """Disable TF32 in convolutions, whose ten bits of mantissa are too coarse to compare."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


def published(experiment: str) -> Propagator:
    cfg = deepcopy(compose_train(f"experiment={experiment}"))
    cfg.model.segmentor.pretrained_backbone = False
    torch.manual_seed(0)
    return Propagator(instantiate(cfg.model.segmentor), instantiate(cfg.model.flow), cfg.model.warp_grid).eval()


@torch.inference_mode()
@pytest.mark.parametrize("experiment", ["vspw_r50", "vspw_swint", "camvid_correlation"])
def test_masks_and_label_maps_equal_those_of_the_cpu(experiment: str) -> None:
    propagator = published(experiment)
    key, nonkey = (frame[None] for frame in frames(2, (240, 427)))
    found = {}
    for device in ("cpu", "cuda"):
        propagator.to(device)
        stream = StreamingSegmentor(propagator, FixedInterval(2))
        first = stream.predict(key.to(device), None)
        second = stream.predict(nonkey.to(device), first.state)
        assert first.is_key and not second.is_key
        found[device] = [(step.prediction.mask_logits.cpu(), step.semantic_map((240, 427)).cpu()) for step in (first, second)]
    for (expected, expected_map), (masks, label_map) in zip(found["cpu"], found["cuda"], strict=True):
        assert (masks - expected).norm() <= 1e-3 * expected.norm()
        # A random network's scores are close to one another, so rounding may decide some pixels.
        assert (label_map != expected_map).float().mean() < 0.01


def losses(run_dir: Path) -> list[float]:
    (path,) = run_dir.glob("csv/*/metrics.csv")
    return [float(row["train/loss"]) for row in csv.DictReader(path.open()) if row.get("train/loss")]


@pytest.fixture(scope="module")
def on_the_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages, trained on the CPU."""
    folder = tmp_path_factory.mktemp("cpu")
    for stage in ("segmentor", "flow", "propagation"):
        train(compose_train(*overrides(folder / "scenes", folder), f"stage={stage}", "name=cpu", *STEPS))
    return folder


def on_the_gpu(folder: Path, on_the_cpu: Path, stage: str, *more: str) -> Path:
    starts = {"flow": "segmentor", "propagation": "flow"}
    start = [f"stage.init_from={on_the_cpu}/cpu/{starts[stage]}/model"] if stage in starts else []
    base = [each for each in overrides(on_the_cpu / "scenes", folder) if not each.startswith("trainer.accelerator")]
    train(compose_train(*base, f"stage={stage}", "name=gpu", "trainer.accelerator=gpu", *STEPS, *start, *more))
    return folder / "gpu" / stage


@pytest.mark.parametrize("stage", ["segmentor", "flow", "propagation"])
def test_training_losses_equal_those_of_the_cpu(tmp_path: Path, on_the_cpu: Path, stage: str) -> None:
    alone, there = losses(on_the_cpu / "cpu" / stage), losses(on_the_gpu(tmp_path, on_the_cpu, stage))
    assert len(alone) == 4 and there == pytest.approx(alone, rel=2e-3)
    assert there[0] == pytest.approx(alone[0], rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("stage", ["segmentor", "flow", "propagation"])
def test_half_precision_trains(tmp_path: Path, on_the_cpu: Path, stage: str, precision: str) -> None:
    run_dir = on_the_gpu(tmp_path, on_the_cpu, stage, f"trainer.precision={precision}")
    assert losses(run_dir) == pytest.approx(losses(on_the_cpu / "cpu" / stage), rel=0.1)
    assert all(value.isfinite().all() for value in load_model(run_dir / "model")[0].state_dict().values())


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, on_the_cpu: Path) -> None:
    every = "callbacks.checkpoint.every_n_steps=2"
    run_dir = on_the_gpu(tmp_path, on_the_cpu, "segmentor", every, "trainer.precision=16-mixed")
    whole, whole_losses = load_model(run_dir / "model")[0].state_dict(), losses(run_dir)
    (last,) = run_dir.glob("checkpoints/step_*4.ckpt")
    last.unlink()
    on_the_gpu(tmp_path, on_the_cpu, "segmentor", every, "trainer.precision=16-mixed", "resume=true")
    (resumed,) = run_dir.glob("csv/version_1/metrics.csv")
    rows = [float(row["train/loss"]) for row in csv.DictReader(resumed.open()) if row.get("train/loss")]
    # Sums on a GPU have no fixed order.
    assert rows == pytest.approx(whole_losses[2:], rel=1e-2)
    for name, value in load_model(run_dir / "model")[0].state_dict().items():
        torch.testing.assert_close(value, whole[name], rtol=1e-2, atol=1e-3, msg=name)


def test_both_strategies_run_on_nccl(tmp_path: Path, on_the_cpu: Path) -> None:
    """One process each, since two may not share a GPU: losses equal those without."""
    alone = losses(on_the_cpu / "cpu" / "segmentor")
    base = [each for each in overrides(on_the_cpu / "scenes", tmp_path) if not each.startswith("trainer.accelerator")]
    ways = {
        "ddp": ["trainer=ddp", "trainer.sync_batchnorm=true"],
        "fsdp": ["trainer=fsdp", "trainer.precision=32-true", "trainer.strategy.block_size=500"],
    }
    for name, how in ways.items():
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m", "src.train", *base, *how]
        more = ["trainer.devices=1", "trainer.accelerator=gpu", "stage=segmentor", f"name={name}", *STEPS]
        done = run([sys.executable, *command, *more])
        assert done.returncode == 0, done.stderr[-4000:]
        assert losses(tmp_path / name / "segmentor") == pytest.approx(alone, rel=2e-2), name


@pytest.mark.parametrize("autocast", [None, "bfloat16", "float16"])
@pytest.mark.parametrize("flow", ["query", "correlation", "dis"])
def test_a_predicted_video_equals_that_of_the_cpu(tmp_path: Path, flow: str, autocast: str | None) -> None:
    metadata = {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32}
    model = save_model(tiny_propagator(flow), tmp_path / "model", metadata)
    make_video(tmp_path / "video.mp4", frames(8, (64, 96)))
    found = {}
    for device in ("cpu", "cuda"):
        settings = {"input": tmp_path / "video.mp4", "checkpoint": model, "output": tmp_path / device, "device": device}
        settings |= {"labels": True, "key_interval": 3} | ({"autocast": autocast} if autocast and device == "cuda" else {})
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            predict(compose("predict", [f"{name}={value}" for name, value in settings.items()]))
        found[device] = [label_map(path) for path in sorted((tmp_path / device / "labels").iterdir())]
    assert len(found["cpu"]) == len(found["cuda"]) == 8
    differing = [(one != other).float().mean().item() for one, other in zip(found["cpu"], found["cuda"], strict=True)]
    assert max(differing) < (0.01 if autocast is None else 0.2), differing


def label_map(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path)))
