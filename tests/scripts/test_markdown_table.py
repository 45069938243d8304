import json
import sys

from scripts.markdown_table import main

COST = {"gflops": 5.5, "params_m": 1.25, "ms": 80.4}


def printed(rows, tmp_path, monkeypatch, capsys):
    (tmp_path / "t.json").write_text(json.dumps(rows))
    monkeypatch.setattr(sys, "argv", ["markdown_table.py", str(tmp_path / "t.json")])
    main()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]


def test_flows_have_a_column_for_each_offset(tmp_path, monkeypatch, capsys):
    rows = [{"method": "a", "offset": offset, "miou": 0.9 - offset / 10, **COST} for offset in (1, 3)]
    rows += [{"method": "b", "offset": offset, "miou": None, **COST, "gflops": None} for offset in (1, 3)]
    head, rule, first, second = printed(rows, tmp_path, monkeypatch, capsys)
    assert head == ["method", "offset 1", "offset 3", "GFLOPs", "parameters, M", "ms"] and len(rule) == len(head)
    assert first == ["a", "80.0", "60.0", "5.50", "1.25", "80"] and second == ["b", "", "", "", "1.25", "80"]


def test_flows_have_a_column_for_each_clip(tmp_path, monkeypatch, capsys):
    rows = [{"method": "a", "epe": 2.0, "epe_per_clip": {"x": 1.0, "y": 3.0}, **COST}, {"method": "b", "epe": None, **COST}]
    head, _, first, second = printed(rows, tmp_path, monkeypatch, capsys)
    assert head[1:4] == ["x", "y", "mean"] and first[1:4] == ["1.00", "3.00", "2.00"] and second[1:4] == ["", "", ""]


def test_methods_have_the_share_of_the_gap_that_they_recover(tmp_path, monkeypatch, capsys):
    scores = {"wiou": 0.5, "vc8": 0.5, "vc16": None, "gflops": 1.0, "ms_key": 2.0, "ms_nonkey": None}
    rows = [
        {"method": method, "key_interval": k, "miou": miou, **scores}
        for method, k, miou in (("per_frame", 1, 0.8), ("copy", 5, 0.6), ("dis", 5, 0.75))
    ]
    head, _, *lines = printed(rows, tmp_path, monkeypatch, capsys)
    assert [line[head.index("gap recovered")] for line in lines] == ["", "", "75%"]


def test_schedulers_show_what_was_spent_and_gained(tmp_path, monkeypatch, capsys):
    scores = {"miou": 0.6, "wiou": 0.7, "vc8": 0.8, "vc16": None, "method": "dis", "key_interval": 5}
    spent = {"gflops": 9.0, "gflops_measured": 1.2345, "key_share": 0.2}
    gains = {"fixed": None, "budget": -0.0123}
    rows = [{**scores, **spent, "scheduler": name, "miou_over_fixed": gain} for name, gain in gains.items()]
    head, rule, first, second = printed(rows, tmp_path, monkeypatch, capsys)
    assert head[-3:] == ["GFLOPs spent", "key frames", "over fixed"] and len(head) == len(rule) == len(first)
    assert first == ["dis", "fixed", "5", "60.0", "70.0", "80.0", "", "1.23", "20.0%", ""] and second[-1] == "-1.23"
