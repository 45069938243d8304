"""Training without an experiment prints a list of all of them; it costs no import of a library and no folder."""

import pytest

from src.command_line.composition import CONF
from src.command_line.experiments import descriptions, require_experiment


def test_a_missing_experiment_is_a_usage_error_that_lists_all(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        require_experiment(["stage=flow", "name=experiment", "trainer.devices=2"])
    request, *rows = caplog.messages[0].splitlines()
    assert ended.value.code == 2 and request.startswith("experiment: not given; expected experiment=<name>")
    assert [row.split()[0] for row in rows] == sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("choice", ["experiment=quickstart", "+experiment=default", "experiment=vspw_r50,vspw_r101"])
def test_any_choice_is_enough(choice: str) -> None:
    require_experiment(["-m", choice])


def test_every_experiment_has_a_short_description() -> None:
    for name, text in descriptions().items():
        assert 10 <= len(text) <= 130, f"conf/experiment/{name}.yaml: {text!r}"
    assert descriptions()["quickstart"] == "The whole method in minutes on two CPU cores, on generated scenes"
