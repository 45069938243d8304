"""Every option has one row: name, type and range, default, description."""

import re

import pytest
from omegaconf import OmegaConf

from src.command_line.composition import composed
from src.command_line.help import described, print_help
from src.options.models import MODELS


def rows(text: str) -> dict[str, list[str]]:
    """Cells of each row by the option's name; cells are separated by two spaces."""
    cells = [re.split(r" {2,}", line) for line in text.splitlines() if re.match(r"[a-z_]+[\w.]* {2,}\S", line)]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("name", MODELS)
def test_every_option_is_listed_with_type_default_and_description(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["data=vspw"] if name == "check_data" else []
    print_help(name, chosen)
    printed = capsys.readouterr().out
    listed = rows(printed)
    for option, value in OmegaConf.to_container(composed(name, chosen)).items():
        if not isinstance(value, dict):
            kind, default, *description = listed[option]
            assert kind and default and description and description[0], option
    assert {"paths.runs", "data.root"} & set(listed)
    table = printed.partition("groups of options")[2]
    assert max(len(line) for line in table.splitlines() if "stack of an error" not in line) <= 120


def test_rows_show_the_ranges_that_are_checked_and_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    print_help("predict", ["scheduler=budget", "alpha=0.25"])
    printed = capsys.readouterr().out
    listed = rows(printed)
    assert listed["alpha"][:2] == ["number 0..1", "0.25"]
    assert listed["quality"][:2] == ["integer 0..51", "20"]
    assert listed["overwrite"][:2] == ["true | false", "false"]
    assert listed["overwrite"][2].startswith("true: replace the results")
    assert listed["input"][:2] == ["a path", "required"]
    assert listed["scheduler.gflops"][:2] == ["number > 0 | null", "null"]
    assert re.search(r"^scheduler= +budget +adaptive \| budget \| fixed$", printed, re.MULTILINE)
    assert printed.startswith("Predict a video")


def test_nested_types_are_those_of_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    print_help("train", ["model/flow=dis"])
    listed = rows(capsys.readouterr().out)
    kind, default, *_ = listed["model.flow.preset"]  # the row continues in the next line
    assert "ultrafast | fast | medium".startswith(kind) and kind and default == "medium"
    assert listed["stage.optim.lr"][0] == "number > 0"
    assert listed["callbacks.stop_on_signal.requeue"][0] == "true | false"


def test_comments_are_read_at_the_end_of_the_line_or_above_it() -> None:
    text = """# The file.
a: 1 # of a
# above b
# in two lines
b: "# no comment"
c: # of c
  d: [1, 2] # of d
  e: {f: 1} # of e
"""
    assert described(text) == {
        "a": "of a", "b": "above b in two lines", "c": "of c", "c.d": "of d", "c.e": "of e", "c.e.f": "of e",
    }  # fmt: skip
