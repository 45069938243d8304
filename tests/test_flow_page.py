"""docs/flow.md keeps its word: its commands compose, its tables are those of the JSON files beside it, its pictures are there."""

import json
import re
import shlex
import sys

import cv2
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from scripts.markdown_table import main
from src.command_line.arguments import quote_paths
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "flow.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_compose_and_name_flows_that_can_be_built(words):
    # The script takes what src.eval does, of its own data.
    start, own = (
        (["python", "-m", "src.eval"], [])
        if words[1] == "-m"
        else (["python", "scripts/flow_bounds.py"], ["data=camvid_still_pairs"])
    )
    assert words[: len(start)] == start
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("eval", quote_paths([*own, *words[len(start) :]]))
    for name in (*cfg.flows, *cfg.cost_only) if "what=masks" not in words and "flows" in cfg else ():
        weightless = {"weights": None} if "weights" in cfg.known_flows[name] else {}
        instantiate(cfg.known_flows[name], **weightless)


@pytest.mark.parametrize("name", ["flow", "flow_endpoint_error"])
def test_tables_are_those_of_the_files(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["markdown_table.py", str(ROOT / "docs" / f"{name}.json")])
    main()
    missing = [line for line in capsys.readouterr().out.splitlines() if line not in PAGE]
    assert not missing


def test_rows_have_what_the_page_promises():
    rows = json.loads((ROOT / "docs" / "flow.json").read_text())
    assert {row["offset"] for row in rows} == {1, 2, 3, 5, 10}
    for row in rows:
        assert {"method", "offset", "miou", "gflops", "params_m", "ms"} <= set(row)
        assert (row["miou"] is None) == (row["pairs"] == 0)


def test_pictures_and_links_are_there():
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)#\s]+)", PAGE)
    assert sum(mark == "!" for mark, _ in links) >= 5
    for mark, target in links:
        if not target.startswith("http"):
            path = ROOT / "docs" / target
            assert path.exists() and (not mark or cv2.imread(str(path)) is not None), target
