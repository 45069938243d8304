"""Evaluation of clip segmentors: one row of scores by the same code as those of other methods."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.commands.eval import evaluate
from src.inference.clip_stream import ClipStream
from src.measure.clip_cost import clip_cost
from src.metrics.iou import MeanIoU
from src.weights.clip_folder import save_clip_model
from tests.inference.tiny import CLASSES, FakeClips
from tests.models.clip_segmentors.tiny import tiny_mrcfa

ROOT = Path(__file__).resolve().parents[3]
DATA = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [11, 3]}"]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("eval", [*DATA, "device=cpu", "short_side=64", *overrides])


def test_scores_are_those_of_the_stream(tmp_path: Path) -> None:
    network = tiny_mrcfa(len(CLASSES))
    model = save_clip_model(network, tmp_path / "model", {"classes": CLASSES})
    output, saved, report = tmp_path / "scores.json", tmp_path / "maps", tmp_path / "report"
    evaluate(config(f"checkpoint={model}", f"output={output}", f"save_predictions={saved}", f"report={report}"))
    (row,) = json.loads(output.read_text())
    data, metric = FakeClips((11, 3)), MeanIoU(len(CLASSES))
    for clip, length in enumerate((11, 3)):
        images = [data.read_image(clip, frame) for frame in range(length)]
        for frame, labels in enumerate(ClipStream(network, short_side=64).stream(images)):
            metric.update(labels, data.read_label(clip, frame))
    assert row["miou"] == pytest.approx(float(metric.compute()["miou"]))
    assert (row["method"], row["frames"], row["key_share"], row["input_size"]) == ("mrcfa", 14, 1.0, "64x96")
    assert row["gflops"] == pytest.approx(clip_cost(network, (64, 96)).streamed)
    assert len(list(saved.rglob("*.png"))) == 14
    assert any(report.iterdir())


@pytest.mark.parametrize("override", ["key_intervals=[5]", "methods=[dis]", "mode=offline", "protocol=pairs", "overlay=x.mp4"])
def test_options_of_key_frames_are_refused(tmp_path: Path, override: str) -> None:
    model = save_clip_model(tiny_mrcfa(len(CLASSES)), tmp_path / "model", {"classes": CLASSES})
    with pytest.raises(ValueError, match=rf"^{override.split('=')[0]} is .*leave out") as caught:
        evaluate(config(f"checkpoint={model}", f"output={tmp_path / 'scores.json'}", override))
    assert "\n" not in str(caught.value)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    model = save_clip_model(tiny_mrcfa(2), tmp_path / "model")
    with pytest.raises(ValueError, match="the network has 2 classes"):
        evaluate(config(f"checkpoint={model}", f"output={tmp_path / 'scores.json'}"))
