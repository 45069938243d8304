"""``python -m src.eval what=label_propagation`` and ``what=endpoint_error``."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.commands.eval import evaluate
from src.weights.model_folder import save_model
from tests.inference.tiny import tiny_propagator

ROOT = Path(__file__).resolve().parents[2]
DATA = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [5, 3]}"]
SMALL = ["device=cpu", "cost_size=[64,96]", "timing_repeats=1", "offsets=[1,2]"]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("eval", [*DATA, *SMALL, *overrides])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tiny_propagator("query"), tmp_path / "model")


def test_trained_and_training_free_flows_warp_labels(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = evaluate(config(
        "what=label_propagation", f"checkpoint={model}", f"output={tmp_path}/t.json", "flows=[copy,dis_fast]",
        "cost_only=[raft_small]", "known_flows.raft_small.num_updates=1", f"report={tmp_path}/report",
        f"pictures={tmp_path}/pictures", "picture_interval=2",
        "picture_flows=[dis_fast,query]", "threads=1",
    ))  # fmt: skip
    assert rows == json.loads((tmp_path / "t.json").read_text())
    names = ["copy", "dis_fast", "pixel", "query", "raft_small"]
    assert [(row["method"], row["offset"]) for row in rows] == [(name, offset) for name in names for offset in (1, 2)]
    by_name = {row["method"]: row for row in rows if row["offset"] == 2}
    assert by_name["dis_fast"]["miou"] > by_name["copy"]["miou"] and by_name["raft_small"]["miou"] is None
    assert by_name["copy"]["gflops"] == 0 < by_name["pixel"]["gflops"] < by_name["query"]["gflops"]
    assert by_name["dis_fast"]["gflops"] is None and by_name["raft_small"]["params_m"] == pytest.approx(0.990, abs=1e-3)
    for row in rows:
        assert row["ms"] > 0 and (row["cost_size"], row["threads"], row["precision"]) == ("64x96", 1, "float32")
    assert {path.name for path in (tmp_path / "report").glob("*.png")} == {"miou_by_offset.png", "miou_by_cost.png"}
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
    assert "offset 2" in capsys.readouterr().out


def test_endpoint_errors_need_no_checkpoint(tmp_path: Path) -> None:
    rows = evaluate(config("what=endpoint_error", f"output={tmp_path}/t.json", "flows=[copy,dis_medium]", "timing_repeats=0"))
    assert [(row["method"], row["ms"]) for row in rows] == [("copy", None), ("dis_medium", None)]
    assert rows[0]["epe"] == pytest.approx(2.0) and rows[1]["epe"] < 1 and set(rows[0]["epe_per_clip"]) == {"clip0", "clip1"}


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["what=flow"], "what=flow; expected masks, label_propagation or endpoint_error"),
        (["flows=[farneback]"], "unknown flows farneback; expected some of copy, dis_ultrafast"),
        (["flows=[]"], "are empty; expected at least one flow"),
        (["flows=[copy]", "cost_only=[copy]"], "copy is in both flows and cost_only"),
        (["offsets=[9]"], "no two labelled frames of a clip are 9 frames apart"),
        (["autocast=bfloat16"], "autocast=bfloat16 is set with what=label_propagation"),
        (["pictures=p", "picture_flows=[query]"], "no two labelled frames of a clip are 5"),
        (["pictures=p", "picture_interval=2", "picture_flows=[query]"], "picture_flows contains query; expected some of copy"),
        (["what=endpoint_error", "report=r"], "expected them only with what=label_propagation"),
    ],
)
def test_invalid_options_are_refused_before_anything_runs(tmp_path: Path, overrides: list[str], message: str) -> None:
    offsets = [] if any("offsets" in one for one in overrides) else ["offsets=[1]"]
    given = ["flows=[copy]"] if not any(one.startswith("flows") for one in overrides) else []
    what = [] if any(one.startswith("what") for one in overrides) else ["what=label_propagation"]
    with pytest.raises(ValueError, match=message):
        evaluate(config(f"output={tmp_path}/t.json", *what, *given, *offsets, *overrides))
    assert not list(tmp_path.iterdir())


def test_two_models_with_the_same_flow_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a second flow 'pixel'"):
        evaluate(config("what=label_propagation", f"output={tmp_path}/t.json", f"checkpoints=[{model},{model}]"))
    still = save_model(tiny_propagator("copy"), tmp_path / "still")
    with pytest.raises(ValueError, match="CopyFlow"):
        evaluate(config("what=label_propagation", f"output={tmp_path}/t.json", f"checkpoint={still}"))
