import csv
import json
from types import SimpleNamespace

import pytest
import wandb

from scripts.sweep_table import main


def write_job(folder, overrides, *miou, table=None, ended=True):
    """A job as Hydra and the logger leave it; the scores are of a run and its resumptions."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {line}\n" for line in overrides) or "[]\n")
    for version, score in enumerate(miou):
        (folder / "csv" / f"version_{version}").mkdir(parents=True)
        # Lightning fills in only what was logged at a step.
        lines = [f"0,1,3.5,{score / 2}", f"0,2,,{score}", "0,2,2.5,"]
        (folder / "csv" / f"version_{version}" / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,val/miou", *lines]))
    if table is not None:
        (folder / "table.json").write_text(json.dumps(table))
    if ended:
        (folder / "model").mkdir()


def row(method, key_interval, miou):
    return {"method": method, "key_interval": key_interval, "miou": miou, "gflops": 2.0, "ms_nonkey": None, "iou_per_class": {}}


def cells(markdown):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]


def read_csv(path):
    return list(csv.DictReader(path.open()))


def test_settings_that_differ_are_columns_and_the_last_score_counts(tmp_path, capsys):
    for number, layers in enumerate((0, 3, 9, 10)):
        scores = (0.1, 0.5 + layers / 100) if layers == 3 else (0.5 + layers / 100,)
        write_job(
            tmp_path / str(number), ["+sweep=decoder_layers", f"model.flow.decoder_layers={layers}", "batch_size=8"], *scores
        )
    assert main([str(tmp_path)]) == 0
    head, _, *lines = cells((tmp_path / "sweep.md").read_text())
    assert head == ["model.flow.decoder_layers", "runs", "val/miou, %"]
    assert lines == [["0", "1", "50"], ["3", "1", "53"], ["9", "1", "59"], ["10", "1", "60"]]
    assert (tmp_path / "sweep.md").read_text() in capsys.readouterr().out and (tmp_path / "sweep.png").stat().st_size > 5000


def test_repeats_by_seed_are_averaged(tmp_path):
    scores = {("true", 0): 0.4, ("true", 1): 0.6, ("false", 0): 0.3, ("false", 1): 0.3}
    for number, ((deep, seed), score) in enumerate(scores.items()):
        write_job(tmp_path / str(number), [f"mask_loss.deep_supervision={deep}", f"seed={seed}"], score)
    assert main([str(tmp_path)]) == 0
    one, other = read_csv(tmp_path / "sweep.csv")
    assert (one["mask_loss.deep_supervision"], one["runs"], float(one["val/miou"])) == ("true", "2", pytest.approx(0.5))
    assert float(one["val/miou_std"]) == pytest.approx(0.02**0.5) and float(other["val/miou_std"]) == 0
    assert ["true", "2", "50 ± 14"] in cells((tmp_path / "sweep.md").read_text())


def test_a_job_that_did_not_end_has_no_score(tmp_path, capsys):
    write_job(tmp_path / "0", ["flow_choice=copy"], 0.4)
    write_job(tmp_path / "1", ["flow_choice=query"], 0.6, ended=False)
    assert main([str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    assert ["query", "0", "-"] in cells((tmp_path / "out.md").read_text())
    assert "left out, not finished: 1 (flow_choice=query)" in capsys.readouterr().out


def test_an_evaluation_in_the_jobs_comes_in_with_its_rows(tmp_path):
    for number, choice in enumerate(("pixel", "query")):
        table = [row("query", k, 0.8 - 0.1 * number - k / 100) for k in (2, 5)]
        write_job(tmp_path / str(number), [f"flow_choice={choice}"], 0.4, table=table)
    assert main([str(tmp_path), "--metrics", "miou", "val/miou"]) == 0
    rows = read_csv(tmp_path / "sweep.csv")
    assert [(r["flow_choice"], r["key_interval"]) for r in rows] == [
        ("pixel", "2"),
        ("pixel", "5"),
        ("query", "2"),
        ("query", "5"),
    ]
    assert [float(r["miou"]) for r in rows] == pytest.approx([0.78, 0.75, 0.68, 0.65])
    assert all(float(r["val/miou"]) == 0.4 for r in rows)


def test_an_evaluation_over_key_intervals_is_a_table_too(tmp_path, capsys):
    path = tmp_path / "intervals.json"
    path.write_text(json.dumps([row(method, k, 0.7) for method in ("copy", "query") for k in (1, 2, 10)]))
    assert main([str(path)]) == 0
    assert ["query", "10", "1", "70", "2"] in cells(capsys.readouterr().out)
    assert {file.name for file in tmp_path.iterdir()} == {
        "intervals.json",
        *(f"intervals_sweep.{end}" for end in ("md", "csv", "png")),
    }


def test_wandb_runs_become_a_table(tmp_path, monkeypatch, capsys):
    def run(layers, seed, miou, state="finished"):
        config = {"model": {"flow": {"decoder_layers": layers}}, "stage": {"flow": {"decoder_layers": layers}}, "seed": seed}
        return SimpleNamespace(
            name=f"run-{layers}", config=config, state=state, summary={"val/miou": miou, "_step": 9, "x": None}
        )

    asked = []
    runs = [run(0, 0, 0.3), run(0, 1, 0.5), run(9, 0, 0.6), run(6, 0, 0.1, "crashed")]
    api = SimpleNamespace(runs=lambda project, filters: asked.append((project, filters)) or runs)
    monkeypatch.setattr(wandb, "Api", lambda: api)
    assert main(["me/mpvss", "--wandb", "--group", "quickstart", "--output", str(tmp_path / "online")]) == 0
    assert asked == [("me/mpvss", {"group": "quickstart"})]
    rows = [(r["model.flow.decoder_layers"], r["runs"], r["val/miou"]) for r in read_csv(tmp_path / "online.csv")]
    assert rows == [("0", "2", "0.4"), ("9", "1", "0.6"), ("6", "0", "")]
    assert "left out, not finished: run-6" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["empty"], "no job of a multirun in it"),
        (["missing.json"], "No such file"),
        (["predictions.json"], "expected a list of rows with method and key_interval"),
        (["broken.json"], "Expecting value"),
        (["jobs"], "sweep.md exist already"),
        (["jobs", "--metrics", "val/moiu"], "no run has val/moiu; expected some of train/loss, val/miou"),
        (["jobs", "--overwrite", "--axis", "b"], "--axis b: expected a setting that differs between the runs (a)"),
    ],
)
def test_errors_are_printed(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "predictions.json").write_text('{"miou": 0.5}')
    (tmp_path / "broken.json").write_text("")
    for number in range(2):
        write_job(tmp_path / "jobs" / str(number), [f"a={number}"], 0.5)
    if "--metrics" not in arguments:
        (tmp_path / "jobs" / "sweep.md").write_text("mine")
    assert main(arguments) == 2
    assert message in capsys.readouterr().out
    assert not (tmp_path / "jobs" / "sweep.png").exists()
