"""Laws of the workspace, read from the script's printed form without a server."""

import json
import re

import pytest

from scripts.wandb_workspace import build, main
from tests.conftest import ROOT


def test_every_panel_shows_a_key_that_runs_log(capsys):
    assert main(["me/mpvss", "--print"]) == 0
    spec = json.loads(capsys.readouterr().out)
    shown = set(re.findall(r"(?:train|val|model)/\w+", json.dumps(spec)))
    page = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    logged = set(re.findall(r"`((?:train|val|model)/\w+)`", table))
    assert len(shown) >= 14 and shown <= logged
    assert (spec["entity"], spec["project"]) == ("me", "mpvss")
    text = json.dumps(spec["spec"])
    assert '"xAxis": "summary:model/gflops", "yAxis": "summary:val/miou"' in text
    assert '[{"section": "run", "name": "group"}, {"section": "run", "name": "jobType"}]' in text


def test_sections_go_from_accuracy_to_pictures():
    names = [section.name for section in build("me", "mpvss", "view").sections]
    assert names == ["Accuracy against cost", "Training", "Speed and memory", "Validation", "Classes", "Pictures and videos"]


@pytest.mark.parametrize("project", ["mpvss", "/mpvss", "me/", "me/mpvss/runs"])
def test_a_project_without_entity_is_refused(project, capsys):
    with pytest.raises(SystemExit):
        main([project])
    assert "expected <entity>/<project>" in capsys.readouterr().err
