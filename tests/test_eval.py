import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.command_line import quote_paths
from src.eval import check_classes, evaluate
from src.inference.video_io import read_video
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator

ROOT = Path(__file__).resolve().parents[1]
# Any data config may be evaluated; here its test clips are replaced by ones in memory.
DATA = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [9, 3]}"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tiny_propagator("query"), tmp_path / "model", {"classes": CLASSES})


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("eval", [*DATA, *overrides])


def test_it_writes_table_video_and_pictures(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = tmp_path / "results (1)" / "k=3.json"
    arguments = [
        f"checkpoint={model}", f"output={output}", "key_intervals=[1,3]", "picture_interval=3", "threads=1", "device=cpu",
        f"overlay={tmp_path / 'clip.mp4'}", f"pictures={tmp_path / 'pictures'}",
    ]  # fmt: skip
    evaluate(config(*quote_paths(arguments)))
    rows: list[dict[str, Any]] = json.loads(output.read_text())
    pairs = [(row["method"], row["key_interval"]) for row in rows]
    assert pairs == [("per_frame", 1), *((method, k) for method in ("copy", "dis", "pixel", "query") for k in (1, 3))]
    for row in rows:
        assert 0 <= row["miou"] <= row["wiou"] + 1 <= 2 and 0 <= row["vc8"] <= 1 and row["vc16"] is None
        assert row["phases"] == row["key_interval"] and list(row["miou_by_distance"]) == [
            str(d) for d in range(row["key_interval"])
        ]
        assert list(row["iou_per_class"]) == list(CLASSES)
        assert (row["input_size"], row["device"][:4], row["threads"], row["precision"]) == ("40x56", "cpu:", 1, "float32")
        assert row["ms"] > 0 and (row["ms_nonkey"] is None) == (row["key_interval"] == 1)
    costs = {pair: row["gflops"] for pair, row in zip(pairs, rows, strict=True)}
    assert costs["copy", 3] < costs["pixel", 3] < costs["query", 3] and costs["copy", 1] == costs["query", 1] > costs["copy", 3]
    assert [line["method"] for line in csv.DictReader(output.with_suffix(".csv").open())] == [row["method"] for row in rows]
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("per_frame", "mIoU %", "GFLOPs"))
    assert str(output) in caplog.text
    assert sum(1 for _ in read_video(tmp_path / "clip.mp4")[0]) == 9
    # One comparison per clip, and the pair of every method but per_frame.
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2 * 5


def test_methods_agree_at_interval_one_and_differ_behind_it(model: Path, tmp_path: Path) -> None:
    rows = evaluate(
        config(f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[copy,query]", "key_intervals=[1,4]", "device=cpu")
    )
    (copy1, copy4, query1, query4) = rows
    assert copy1["miou"] == query1["miou"] and copy1["ms"] == query1["ms"]
    assert copy4["miou_by_distance"]["0"] == query4["miou_by_distance"]["0"]
    assert copy4["miou"] != query4["miou"]


@pytest.mark.parametrize(
    "overrides, error, message",
    [
        (["methods=[copy,raft]"], ValueError, "unknown method 'raft'"),
        (["key_intervals=[0]"], ValueError, "key_interval is 0"),
        (["autocast=half"], ValueError, "autocast is 'half'"),
        (["checkpoint=nowhere"], FileNotFoundError, "no model at nowhere"),
        (["max_clips=0"], ValueError, "no clip"),
        (["methods=[]"], ValueError, "nothing to evaluate"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    model: Path, tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", *overrides))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_method_that_the_checkpoint_cannot_do_is_refused(tmp_path: Path) -> None:
    model = save_model(tiny_propagator("dis"), tmp_path / "model")
    with pytest.raises(ValueError, match="method 'query' needs a checkpoint with a QueryFlow; this one has a DISFlow"):
        evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", "methods=[dis,query]"))


@pytest.mark.parametrize("name", ["output", "overlay", "pictures"])
def test_earlier_results_are_not_overwritten_unasked(model: Path, tmp_path: Path, name: str) -> None:
    names = {"output": "t.json", "overlay": "t.mp4", "pictures": "pictures"}
    taken = tmp_path / names[name]
    if name == "pictures":
        taken.mkdir()
        (taken / "old.png").touch()
    else:
        taken.write_text("precious")
    paths = [f"{key}={tmp_path / value}" for key, value in names.items()]
    with pytest.raises(FileExistsError, match="overwrite=true"):
        evaluate(config(f"checkpoint={model}", "device=cpu", *paths))
    assert taken.is_dir() or taken.read_text() == "precious"


def test_other_classes_are_refused() -> None:
    check_classes({"classes": list(CLASSES)}, FakeClips())
    check_classes({}, FakeClips())
    with pytest.raises(ValueError, match="class 1 is 'water' in the model and 'road' in the data"):
        check_classes({"classes": ["sky", "water", "tree", "car"]}, FakeClips())
    with pytest.raises(ValueError, match="trained for 2 classes, the data has 4"):
        check_classes({"classes": ["sky", "road"]}, FakeClips())
