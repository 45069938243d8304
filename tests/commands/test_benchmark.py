"""Laws of the benchmark: the paper's figures come out, everything asked for is measured, and what cannot be done is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src.commands.benchmark import benchmark
from src.measure.published import published_models
from src.weights.model_folder import save_model
from tests.inference.tiny import tiny_propagator
from tests.tiny_run import NETWORKS, ROOT

# Counted by the rule of fvcore on the published code: GFLOPs of a key frame without the query-key products of masked attention,
# which fvcore did not see, and millions of parameters of a segmentor for 124 classes.
KEY = {
    "vspw": {"r50": 104.39, "r101": 135.16, "swint": 108.22, "swins": 145.98, "swinb": 217.34, "swinl": 396.55},
    "cityscapes": {"r50": 521.62, "r101": 677.21, "swint": 535.36, "swins": 721.80, "swinb": 1048.70, "swinl": 1903.00},
}
QUERY_KEY = {"vspw": 0.653, "cityscapes": 3.30}
PROPAGATE = {"vspw": 15.74, "cityscapes": 79.09}
POST = {"vspw": 5.31, "cityscapes": 4.82}
SEGMENTOR = {"r50": 44.035, "r101": 63.027, "swint": 47.433, "swins": 68.751, "swinb": 106.916, "swinl": 215.482}
FLOW = 40.085
CLASS_HEAD = 257 / 1e6  # millions of parameters for each class


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def run(*overrides: str) -> Any:
    return benchmark(compose("benchmark", list(overrides)))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    output = tmp_path_factory.mktemp("paper") / "paper.json"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        rows = run("what=paper", f"output={output}")
    assert json.loads(output.read_text()) == rows
    return {row["experiment"]: row for row in rows}


@pytest.mark.parametrize("experiment", list(published_models()))
def test_every_model_of_the_paper_has_its_size_and_cost(paper: dict[str, dict[str, Any]], experiment: str) -> None:
    row, published = paper[experiment], published_models()[experiment].mpvss
    data, backbone = experiment.split("_")
    classes = {"vspw": 124, "cityscapes": 19}[data]
    segmentor = SEGMENTOR[backbone] - (124 - classes) * CLASS_HEAD
    assert row["params_m"]["segmentor"] == pytest.approx(segmentor, rel=1e-3)
    assert row["params_m"]["flow"] == pytest.approx(FLOW, rel=1e-3)
    assert row["params_m"]["total"] == pytest.approx(published.get("params_m", segmentor + FLOW), rel=1e-3)
    assert row["gflops"]["key"] == pytest.approx(KEY[data][backbone] + QUERY_KEY[data], rel=2e-3)
    assert row["gflops"]["propagate"] == pytest.approx(PROPAGATE[data], rel=5e-3)
    assert row["gflops"]["post"] == pytest.approx(POST[data], rel=2e-3)
    assert row["gflops"]["average"] == pytest.approx(published["gflops"], rel=1e-2)
    # What is printed beside the paper's figure is this very deviation.
    assert row["deviation_percent"]["gflops"] == pytest.approx(100 * (row["gflops"]["average"] / published["gflops"] - 1))
    assert abs(row["deviation_percent"]["gflops"]) < 0.25


def test_all_gives_cost_and_latency_in_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a.json"
    networks = [change for change in NETWORKS if change != "model/segmentor=tiny"]
    row = run(
        "model/segmentor=tiny", *networks, "size=[64,96]", "key_interval=3", "repeats=2", "warmup=0", "device=cpu", "threads=1",
        f"output={output}",
    )  # fmt: skip
    assert json.loads(output.read_text()) == row
    assert row["params_m"]["total"] == row["params_m"]["segmentor"] + row["params_m"]["flow"]
    gflops, latency = row["gflops"], row["latency_ms"]
    assert gflops["average"] == pytest.approx((gflops["key"] + 2 * gflops["propagate"]) / 3 + gflops["post"])
    assert latency["mean"] == pytest.approx((latency["key"] + 2 * latency["propagate"]) / 3)
    assert latency["worst"] >= max(latency["key"], latency["propagate"]) > 0
    assert row["fps"] == pytest.approx(1e3 / latency["mean"])
    assert set(row["peak_memory_mib"]) == {"key", "propagate"} and min(row["peak_memory_mib"].values()) > 100
    assert (row["input_size"], row["threads"], row["published"]) == ("64x96", 1, None)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("64x96", row["device"], "threads: 1", "float32", "params M", "worst frame"))


def test_at_key_interval_one_nothing_is_propagated() -> None:
    row = run("model/segmentor=tiny", "model/flow=copy", "size=[64,96]", "key_interval=1", "repeats=1", "warmup=0", "device=cpu")
    assert row["latency_ms"]["propagate"] is None and row["latency_ms"]["mean"] == row["latency_ms"]["key"]
    assert row["gflops"]["average"] == row["gflops"]["key"] + row["gflops"]["post"]


def test_a_trained_model_is_measured(tmp_path: Path) -> None:
    model = tiny_propagator("query")
    row = run("what=cost", f"checkpoint={save_model(model, tmp_path / 'model')}", "size=[64,96]")
    assert row["params_m"]["total"] == sum(p.numel() for p in model.parameters()) / 1e6
    assert row["checkpoint"] == str(tmp_path / "model")


def test_published_figures_need_the_published_networks() -> None:
    """Size and interval: tests/measure/test_report.py."""
    assert run("what=cost", "experiment=vspw_r50")["published"]["gflops"] == 38.9
    for change in ("model/flow=copy", "model/segmentor=tiny"):
        assert run("what=cost", "experiment=vspw_r50", change)["published"] is None, change
    # As VSPW is evaluated.
    assert run("what=cost", "data=vspw", "model/segmentor=tiny", "model/flow=copy")["input_size"] == "480x853"


def test_an_absent_device_is_refused() -> None:
    with pytest.raises(ValueError, match="device is 'gpu0'; expected auto or a device of this machine: cpu"):
        run("model/segmentor=tiny", "model/flow=copy", "device=gpu0")


def test_the_loader_is_measured_with_bare_decoding(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["data.train_transform.steps.1.size=[48,48]", "size=[96,128]", "loader.num_pairs=4", "batch_size=2"]
    row = run("what=loader", "data=vspw", *small)
    assert row["ratio"] == pytest.approx(row["pairs_per_s"] / row["decode_pairs_per_s"])
    assert row["without_color_jitter"]["pairs_per_s"] > 0
    assert {"read images", "read label", "ResizedCrop", "ColorJitter", "collate"} <= set(row["parts_ms"])
    assert "bare decoding" in capsys.readouterr().out


def test_the_loader_of_a_data_set_on_disk_is_measured(tmp_path: Path) -> None:
    scenes = [
        "data.scenes.num_clips=1",
        "data.scenes.num_frames=4",
        "data.scenes.size=[64,96]",
        f"data.root={tmp_path / 'scenes'}",
    ]
    row = run("what=loader", "loader.source=dataset", "loader.num_pairs=2", "batch_size=2", *scenes)
    assert (row["source"], row["input_size"]) == ("dataset", "64x96")


def test_a_training_step_is_measured_at_the_size_of_its_crops(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["data.train_transform.steps.1.size=[64,64]", "size=[96,128]", "data.num_classes=4", "mask_loss.num_points=64"]
    networks = [change for change in NETWORKS if change != "model/segmentor=tiny"]
    row = run(
        "what=training", "data=vspw", "model/segmentor=tiny", *networks, *small, "batch_size=2", "repeats=1", "warmup=0",
        "device=cpu", "threads=1", "trainer.precision=bf16-mixed",
    )  # fmt: skip
    assert (row["stage"], row["input_size"], row["batch_size"]) == ("propagation", "64x64", 2)
    assert row["precision"].startswith("autocast bfloat16")
    both = row["step_ms"]
    assert list(both) == ["configured", "frozen parts with autograd"] and both["configured"]["step"] > 0
    printed = capsys.readouterr().out
    assert "stage propagation: 2 pairs of 64x64" in printed and "backward" in printed


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["what=costs"], "what=costs; expected one of all, break_even, cost, latency, loader, paper, peers, speed, training"),
        (["what=cost", "data=camvid"], r"data=camvid .* expected size=\[height,width\]"),
        (["what=cost", "size=[64]"], r"size=\[64\]; expected \[height, width\]"),
        (["what=cost", "key_interval=0", "model/segmentor=tiny", "model/flow=copy"], "key_interval is 0"),
        (["what=latency", "autocast=half"], "autocast is 'half'"),
        (
            ["what=training", "model/segmentor=tiny", "trainer.precision=64-true"],
            "trainer.precision=64-true; expected one of 32-true, bf16",
        ),
        (["what=loader", "loader.source=disk"], "loader.source=disk; expected generated or dataset"),
        (["what=loader", "data=vspw", "loader.num_pairs=2"], "num_pairs=2, batch_size=4"),
        (["output=a.txt"], "ends in .json"),
    ],
)
def test_invalid_options_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(*overrides)
