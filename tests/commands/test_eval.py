import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.command_line.arguments import quote_paths
from src.commands.eval import evaluate, run
from src.commands.parallel import methods
from src.inference.methods import with_method
from src.inference.video.decoder import VideoFrames
from src.measure.cost import frame_cost
from src.metrics.video_consistency import VideoConsistency
from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.registry import load_segmentor
from src.weights.model_folder import load_model, save_model
from tests.data.fake_layouts import write_image, write_label
from tests.inference.tiny import CLASSES, tiny_propagator
from tests.metrics.golden import golden_clips
from tests.models.families import network
from tests.wandb_runs import logged_bytes

ROOT = Path(__file__).resolve().parents[2]
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
        assert row["runs"] == row["key_interval"] and list(row["miou_by_offset"]) == [str(d) for d in range(row["key_interval"])]
        assert list(row["iou_per_class"]) == list(CLASSES)
        assert (row["input_size"], row["device"][:4], row["threads"], row["precision"]) == ("40x56", "cpu:", 1, "float32")
        assert row["ms"] > 0 and (row["ms_nonkey"] is None) == (row["key_interval"] == 1)
    costs = {pair: row["gflops"] for pair, row in zip(pairs, rows, strict=True)}
    assert costs["copy", 3] < costs["pixel", 3] < costs["query", 3] and costs["copy", 1] == costs["query", 1] > costs["copy", 3]
    assert [line["method"] for line in csv.DictReader(output.with_suffix(".csv").open())] == [row["method"] for row in rows]
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("per_frame", "mIoU %", "GFLOPs"))
    assert str(output) in caplog.text
    assert sum(1 for _ in VideoFrames(tmp_path / "clip.mp4")) == 9
    # One comparison per clip, and the pair of every method but per_frame.
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2 * 5


def test_videomt_is_a_method_beside_those_that_carry(tmp_path: Path) -> None:
    network("videomt").save_pretrained(tmp_path / "hub")
    segmentor = load_segmentor(str(tmp_path / "hub"), len(CLASSES))
    model = save_model(Propagator(segmentor, CopyFlow()), tmp_path / "model", {"classes": CLASSES})
    arguments = [
        f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[per_frame,videomt,copy]", "key_intervals=[2]",
        "picture_interval=2", "device=cpu", f"overlay={tmp_path / 'clip.mp4'}", f"pictures={tmp_path / 'pictures'}",
    ]  # fmt: skip
    rows = evaluate(config(*arguments))
    assert [(row["method"], row["key_interval"]) for row in rows] == [("per_frame", 1), ("videomt", 1), ("copy", 2)]
    alone, online, carried = (row["gflops"] for row in rows)
    assert carried < alone < online < 1.01 * alone
    assert sum(1 for _ in VideoFrames(tmp_path / "clip.mp4")) == 9


def test_schedulers_have_rows_with_their_measured_cost(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        f"checkpoint={model}",
        f"output={tmp_path}/t.json",
        "methods=[per_frame,copy]",
        "key_intervals=[2,4]",
        "device=cpu",
    ]
    rows = evaluate(config(*arguments, "schedulers=[fixed,adaptive,budget]", "interval_shifts=2", "adaptive.weight=0"))
    assert [(row["scheduler"], row["key_interval"]) for row in rows] == [
        ("fixed", 1), ("fixed", 2), ("fixed", 4), ("adaptive", 2), ("adaptive", 4), ("budget", 2), ("budget", 4),
    ]  # fmt: skip
    cost = frame_cost(with_method(load_model(model)[0], "copy"), (40, 56))
    for row in rows:
        signals = 0 if row["scheduler"] == "fixed" else (4 * 40 * 56 + 10 * 40 * 56) / 1e9
        expected = row["key_share"] * cost.key + (1 - row["key_share"]) * cost.propagate + cost.post + signals
        assert row["gflops_measured"] == pytest.approx(expected, rel=1e-9)
        assert row["miou_over_fixed"] is None or row["scheduler"] != "fixed"
    # Between the costs of two fixed intervals there is something to compare with.
    assert rows[3]["miou_over_fixed"] is not None
    assert rows[3]["runs"] == 2 and rows[3]["miou"] == pytest.approx(rows[1]["miou"])
    printed = capsys.readouterr().out
    assert "adaptive" in printed and "budget" in printed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedulers=[fixed,cheap]", "fixed, adaptive, budget"),
        ("interval_shifts=0", "at least 1"),
        ("budget.ms=3", "expected null"),
    ],
)
def test_bad_schedulers_are_refused_before_a_model_is_read(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(config("checkpoint=none", f"output={tmp_path}/t.json", "schedulers=[fixed,budget]", override))


def test_methods_agree_only_at_interval_one(model: Path, tmp_path: Path) -> None:
    rows = evaluate(
        config(f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[copy,query]", "key_intervals=[1,4]", "device=cpu")
    )
    (copy1, copy4, query1, query4) = rows
    assert copy1["miou"] == query1["miou"] and copy1["ms"] == query1["ms"]
    assert copy4["miou_by_offset"]["0"] == query4["miou_by_offset"]["0"]
    assert copy4["miou"] != query4["miou"]


@pytest.mark.parametrize(
    "overrides, error, message",
    [
        (["methods=[copy,raft]"], ValueError, "method is 'raft'"),
        (["key_intervals=[0]"], ValueError, "key_interval is 0"),
        (["autocast=half"], ValueError, "autocast is 'half'"),
        (["device=gpu0"], ValueError, "device is 'gpu0'; expected auto or a device of this machine: cpu"),
        (["checkpoint=nowhere"], FileNotFoundError, "nowhere does not exist"),
        (["max_clips=0"], ValueError, "no clip"),
        (["methods=[]"], ValueError, "nothing to evaluate"),
        (["save_predictions=maps"], ValueError, "save_predictions is set with 21 results"),
        (["predictions=maps"], ValueError, "checkpoint=.* and predictions=maps are set; expected only one"),
    ],
)
def test_invalid_options_are_refused_before_anything_runs(
    model: Path, tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", *overrides))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_method_that_the_checkpoint_lacks_is_refused(tmp_path: Path) -> None:
    model = save_model(tiny_propagator("dis"), tmp_path / "model")
    with pytest.raises(ValueError, match="method 'query' needs a checkpoint with a QueryFlow; this one has a DISFlow"):
        evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", "methods=[dis,query]"))


@pytest.mark.parametrize("name", ["output", "overlay", "pictures", "report"])
def test_results_are_overwritten_only_on_request(model: Path, tmp_path: Path, name: str) -> None:
    names = {"output": "t.json", "overlay": "t.mp4", "pictures": "pictures", "report": "report"}
    taken = tmp_path / names[name]
    if name in ("pictures", "report"):
        taken.mkdir()
        (taken / "old.png").touch()
    else:
        taken.write_text("precious")
    paths = [f"{key}={tmp_path / value}" for key, value in names.items()]
    with pytest.raises(FileExistsError, match="overwrite=true"):
        evaluate(config(f"checkpoint={model}", "device=cpu", *paths))
    assert taken.is_dir() or taken.read_text() == "precious"
    if taken.is_dir():
        with pytest.raises(FileExistsError, match=f"{name} has files and no finished.json of this project"):
            evaluate(config(f"checkpoint={model}", "device=cpu", "overwrite=true", *paths))
        assert [path.name for path in taken.iterdir()] == ["old.png"]


def test_two_results_in_one_folder_are_refused(tmp_path: Path) -> None:
    paths = [f"{name}={tmp_path / 'out'}" for name in ("report", "pictures")]
    with pytest.raises(ValueError, match="expected different folders"):
        evaluate(config("checkpoint=none", f"output={tmp_path}/t.json", *paths))


def test_saved_predictions_score_as_the_run_did(model: Path, tmp_path: Path) -> None:
    saved = tmp_path / "maps, k=3"
    run = [
        f"output={tmp_path}/run.json",
        "methods=[query]",
        "key_intervals=[3]",
        "key_frame_offsets=first",
        f"save_predictions={saved}",
    ]
    (row,) = evaluate(config(*quote_paths([f"checkpoint={model}", "device=cpu", "temporal_consistency=true", *run])))
    assert len(list(saved.rglob("*.png"))) == 12
    files = [f"predictions={saved}", f"output={tmp_path}/files.json", "temporal_consistency=true"]
    evaluate(config(*quote_paths(files)))
    scored = json.loads((tmp_path / "files.json").read_text())
    names = ("miou", "wiou", "miou_reference", "vc8", "vc16", "strict", "temporal_consistency", "iou_per_class", "frames")
    assert {name: scored[name] for name in names} == {name: row[name] for name in names}
    assert scored["vc8"] is not None and scored["temporal_consistency"] is not None and scored["clips"] == 2


def test_offsets_report_mean_and_minimum(model: Path, tmp_path: Path) -> None:
    arguments = ["methods=[copy]", "key_intervals=[3]", "protocol=pairs", f"report={tmp_path}/report"]
    (row,) = evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", *arguments))
    each = list(row["miou_by_offset"].values())
    assert row["miou"] == pytest.approx(sum(each) / 3) == row["miou_by_offset_mean"] and row["miou_by_offset_min"] == min(each)
    assert row["frames_by_offset"] == {"0": 12, "1": 10, "2": 8}
    assert (tmp_path / "report" / "miou_by_offset.png").is_file()


def test_scores_and_report_reach_wandb(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["methods=[per_frame,copy]", "key_intervals=[2]", "logger=wandb", f"report={tmp_path}/report"]
    evaluate(config(f"checkpoint={model}", f"output={tmp_path}/t.json", "device=cpu", f"paths.runs={tmp_path}/runs", *arguments))
    (run,) = (tmp_path / "runs" / "eval" / "wandb").glob("offline-run-*")
    media = {path.name.rsplit("_", 2)[0] for path in (run / "files" / "media" / "images" / "eval").iterdir()}
    assert media == {"confusion_per_frame_k1", "confusion_copy_k2", "miou_by_offset", "miou_by_position", "miou_by_gflops"}
    assert list((run / "files" / "media" / "table" / "eval").iterdir())
    assert b"eval/miou_copy_k2" in logged_bytes(run)
    assert "IoU per class" in capsys.readouterr().out


def write_golden_dataset(goldens: Path, root: Path, predictions: Path) -> None:
    """The golden clips as VSPW has them on disk, and their predictions as a submission has them."""
    names = []
    for clip in golden_clips(goldens):
        names.append(clip.name)
        for frame, (label, prediction) in enumerate(zip(clip.raw_label, clip.prediction, strict=True)):
            # Neither consecutive nor of one length.
            stem = f"{7 * frame + 3}"
            write_image(root / "data" / clip.name / "origin" / f"{stem}.jpg", size=tuple(label.shape))
            write_label(root / "data" / clip.name / "mask" / f"{stem}.png", label)
            write_label(predictions / clip.name / f"{stem}.png", prediction)
    (root / "val.txt").write_text("\n".join(names))


def test_golden_submission(goldens: Path, tmp_path: Path) -> None:
    write_golden_dataset(goldens, tmp_path / "vspw", tmp_path / "predictions")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("eval", [
            "data=vspw", f"data.root={tmp_path}/vspw", "data.split=val", "data.min_clip_length=17",
            f"predictions={tmp_path}/predictions", f"output={tmp_path}/scores.json",
        ])  # fmt: skip
    evaluate(cfg)
    scores = json.loads((tmp_path / "scores.json").read_text())
    expected = json.loads((goldens / "metrics" / "vspw_metrics.json").read_text())
    for name, golden in (("miou", "miou"), ("wiou", "wiou"), ("vc8", "mvc8")):
        assert scores[name] == pytest.approx(expected[golden], abs=1e-9)
    assert scores["clips"] == 2 and scores["frames"] == 37
    # tests/metrics/test_video_consistency.py says what is the matter with the file's mvc16.
    for key, window, protocol in (("vc16", 16, "official"), ("vc8", 8, "strict"), ("vc16", 16, "strict")):
        metric = VideoConsistency(window, protocol)
        for clip in golden_clips(goldens):
            if len(clip.label) > 16:
                metric.update(clip.prediction, clip.label)
        assert (scores if protocol == "official" else scores["strict"])[key] == metric.compute().item()


def signalled(images: int, number: int, *arguments: str) -> int:
    dataset = f"{{_target_: tests.inference.signalled_clips.SignalledClips, images: {images}, number: {number}, lengths: [6, 4]}}"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("eval", [*DATA[:-1], f"+data.test={dataset}", "device=cpu", "key_frame_offsets=first", *arguments])
    # Shells start jobs in the background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(cfg)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_finished_rows_are_kept_after_a_signal(model: Path, tmp_path: Path, number: int, code: int) -> None:
    output, partial = tmp_path / "t.json", tmp_path / "t.partial.json"
    arguments = [f"checkpoint={model}", f"output={output}", "methods=[copy,query]", "key_intervals=[1,2,3]"]
    # One image is read for the size, ten for each row; the row of key interval 1 is shared.
    assert signalled(1 + 2 * 10 + 3, number, *arguments) == code
    found = json.loads(partial.read_text())
    assert found["complete"] is False and found["missing"] == [
        "copy, fixed, k=3", "query, fixed, k=1", "query, fixed, k=2", "query, fixed, k=3",
    ]  # fmt: skip
    assert [(row["method"], row["key_interval"]) for row in found["rows"]] == [("copy", 1), ("copy", 2)]
    assert not output.exists() and not output.with_suffix(".csv").exists()
    # The whole run has the same rows, and removes the partial result.
    assert signalled(1000, number, *arguments) == 0
    rows = json.loads(output.read_text())
    assert [row["miou"] for row in rows[:2]] == [row["miou"] for row in found["rows"]] and len(rows) == 6
    assert not partial.exists()


def test_predictions_and_pictures_appear_when_they_are_complete(model: Path, tmp_path: Path) -> None:
    base = [f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[copy]", "key_intervals=[2]", "threads=1"]
    base += [f"save_predictions={tmp_path}/maps"]
    assert signalled(1 + 7, signal.SIGTERM, *base, f"pictures={tmp_path}/pictures") == 143
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # The rows and maps are complete when the pictures begin, each of which reads two images.
    assert signalled(1 + 10 + 3, signal.SIGTERM, *base, f"pictures={tmp_path}/pictures") == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "model", "t.csv", "t.json"]
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 10 and (tmp_path / "maps/finished.json").is_file()
    (tmp_path / "maps/notes.txt").write_text("mine")
    assert signalled(1000, signal.SIGTERM, *base, "overwrite=true") == 0
    assert (tmp_path / "maps/notes.txt").read_text() == "mine"


def test_flows_stop_on_a_signal_too(tmp_path: Path) -> None:
    arguments = [f"output={tmp_path}/t.json", "checkpoint=null"]
    flows = ["what=label_propagation", "flows=[copy,dis_ultrafast]", "offsets=[1]", "timing_repeats=0"]
    # Two images for the costs; each flow reads ten key frames, of which two have no target, and eight targets.
    assert signalled(2 + 16 + 3, signal.SIGTERM, *arguments, *flows) == 143
    found = json.loads((tmp_path / "t.partial.json").read_text())
    assert [row["method"] for row in found["rows"]] == ["copy"] and found["missing"] == ["dis_ultrafast"]


def test_scores_of_void_labels_are_stated_to_be_undefined(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    void = "+data.test={_target_: tests.inference.signalled_clips.VoidClips, lengths: [4]}"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        arguments = [*DATA[:-1], void, f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[copy]", "key_intervals=[2]"]
        rows = evaluate(compose("eval", arguments))
        arguments = [*DATA[:-1], void, f"output={tmp_path}/f.json", "what=label_propagation", "flows=[copy]", "offsets=[1]"]
        flows = evaluate(compose("eval", [*arguments, "timing_repeats=0"]))
    assert rows[0]["miou"] is rows[0]["wiou"] is rows[0]["miou_reference"] is None
    assert flows[0]["miou"] is None and json.loads((tmp_path / "f.json").read_text())[0]["miou"] is None
    assert "every label is void, so mIoU is undefined" in caplog.text
    assert "the scores of copy are undefined" in caplog.text


@pytest.mark.parametrize("options", [["protocol=pairs"], ["key_frame_offsets=first"]])
def test_a_network_of_nan_is_an_error_that_names_clip_and_frame(tmp_path: Path, options: list[str]) -> None:
    propagator = tiny_propagator("query")
    model = save_model(propagator, tmp_path / "model", {"classes": CLASSES})
    arguments = [f"checkpoint={model}", f"output={tmp_path}/t.json", "methods=[copy]", "key_intervals=[2]", "device=cpu"]
    with pytest.MonkeyPatch.context() as patch:
        # Weights in files are checked when they are loaded; activations may overflow later.
        patch.setattr(methods, "load_checkpoint", lambda *_, **__: (broken(propagator), {"classes": CLASSES}))
        with pytest.raises(ValueError, match=r"clip clip0, frame \d \(\d.jpg\): .*logits are NaN or infinite"):
            evaluate(config(*arguments, *options))
    assert not (tmp_path / "t.json").exists()


def broken(propagator: Propagator) -> Propagator:
    for parameter in propagator.segmentor.parts()["mask_head"].parameters():
        parameter.data[:] = float("nan")
    return propagator
