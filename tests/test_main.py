"""Commands by name, as the installed ``mpvss`` runs them; tests/test_wheel.py runs the installed package."""

import runpy
import sys
from pathlib import Path

import pytest

from src.__main__ import COMMANDS, SCRIPTS, main

ROOT = Path(__file__).resolve().parents[1]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mpvss", *arguments])
    main()


def test_every_entry_point_is_a_command() -> None:
    modules = {
        path.stem
        for path in (ROOT / "src").glob("*.py")
        if "imported_command(" in path.read_text() or "@command(" in path.read_text()
    }
    assert set(COMMANDS) == modules and len(modules) > 5
    assert {path.stem for path in (ROOT / "conf").glob("*.yaml")} <= COMMANDS.keys() | SCRIPTS.keys()
    assert all((ROOT / "scripts" / f"{name}.py").is_file() for name in SCRIPTS)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_each_command_with_a_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out.splitlines()
    for name, purpose in (COMMANDS | SCRIPTS).items():
        assert [line.split() for line in printed].count([name, *purpose.split()]) == 1


def test_an_unknown_command_is_a_line_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "predicts", "input=a")
    message = str(ended.value.code)
    assert message.startswith("predicts is no command; expected train | eval | ") and message.endswith("did you mean predict?")
    assert "\n" not in message


def test_a_command_runs_as_the_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[object]()
    monkeypatch.setattr(runpy, "run_module", lambda *given, **named: started.append((given, named, sys.argv)))
    monkeypatch.setattr(runpy, "run_path", lambda *given, **named: started.append((given, named, sys.argv)))
    run(monkeypatch, "train", "seed=1")
    run(monkeypatch, "check_data", "data=vspw")
    assert started == [
        (("src.train",), {"run_name": "__main__", "alter_sys": True}, ["mpvss", "seed=1"]),
        ((str(ROOT / "scripts" / "check_data.py"),), {"run_name": "__main__"}, ["mpvss", "data=vspw"]),
    ]
