import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from src.command_line.arguments import RENAMED_KEYS, check_choices, check_renamed_keys, prepare_arguments, quote_paths, typed_path
from tests.tiny_run import compose_train

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "plain/model",
    "my clip (1).mp4",
    "outputs/epoch=3-step=600.ckpt",
    "a,b",
    "~/data",
    "R&D #2",
    "it's here",
    'say "cheese".png',
    'it\'s "both"',
    "'half",
    "[list]",
    "{brace}",
    "10:30",
    "semi;colon",
    r"back\slash",
    "ends with a backslash\\",
    r"quote after backslash \' here",
    r"\\server\share",
    "Übung/видео/影片.mp4",
    "50 % off*?!|<>`@^+",
    " leading and trailing ",
    "tab\there",
    "true story",
    "a  b",
    "${paths.data} (copy)",
    "$HOME/x y",
    "${HOME}",
    "$${HOME}/${oc.env:HOME}",
    "${unfinished",
    "'${quoted}' in part",
    r"\${escaped} ${not}",
    r"two \\${backslashes}",
    r"${a} \' quoted",
    "inner\\and ${last}\\",
    "2024_05",
    "007",
    "1e3",
    "-1.5",
    "TRUE",
    "nan",
    "..",
]


def parsed(argument: str) -> object:
    override = OverridesParser.create().parse_override(argument)
    assert not override.is_sweep_override()
    return OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["checkpoint", "input", "data.root", "+hydra.run.dir", "stage.init_from", "paths.runs"])
def test_any_file_name_reaches_hydra_as_typed(key: str, name: str) -> None:
    (argument,) = quote_paths([f"{key}={name}"])
    assert parsed(argument) == name


@pytest.mark.parametrize(
    "argument",
    [
        "checkpoint='my clip (1).mp4'",
        'checkpoint="a=b.ckpt"',
        "stage.init_from=null",
        "output=",
        "run_dir=outputs/a",
        "methods=[copy,dis]",
        "stage.optim.lr=1e-4,1e-3",
        "stage=flow",
        "~data.test",
        "+data.test={_target_: x, lengths: [9, 3]}",
        "--multirun",
        "-m",
        "hydra.verbose=true",
    ],
)
def test_the_rest_passes_unchanged(argument: str) -> None:
    assert quote_paths([argument]) == [argument]


def test_null_keeps_its_meaning_and_a_reference_is_a_name() -> None:
    null, reference, quoted = quote_paths(["stage.init_from=null", "data.root=${paths.data}/camvid", "input='${x}.mp4'"])
    assert parsed(null) is None
    assert parsed(reference) == "${paths.data}/camvid"
    assert parsed(quoted) == "${x}.mp4"


def test_quoting_twice_is_quoting_once() -> None:
    once = quote_paths([f"checkpoint={name}" for name in NAMES])
    assert quote_paths(once) == once


def test_the_command_line_of_the_process_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["src/eval.py", "checkpoint=a=b.ckpt", "threads=2"])
    prepare_arguments()
    assert sys.argv == ["src/eval.py", "checkpoint='a=b.ckpt'", "threads=2"]


def test_home_folder_and_names_that_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert typed_path("~/a.mp4") == tmp_path / "home" / "a.mp4"
    assert typed_path("a~/b") == Path("a~/b")
    (tmp_path / "~").mkdir()
    assert typed_path("~/a.mp4") == Path("~/a.mp4")


@pytest.mark.parametrize("name", ["predict", "demo"])
def test_help_shows_usage_and_every_option(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"src.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"python -m src.{name} " in done.stdout
    own = yaml.safe_load((ROOT / "conf" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert all(re.search(rf"^{option}[ .]", done.stdout, re.MULTILINE) for option in own if option not in ("defaults", "hydra"))


@pytest.mark.parametrize("key", RENAMED_KEYS)
def test_a_renamed_key_ends_in_an_error_that_names_its_successor(key: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(key)} is the key .* expected {re.escape(RENAMED_KEYS[key])}$"):
        check_renamed_keys(["input=a", f"+{key}=3"])
    with pytest.raises(ValueError, match="is the key of an earlier release"):
        check_renamed_keys([f"{key}.part=3"])
    check_renamed_keys([f"input={key}", *(f"{name.split(' ')[0]}=1" for name in RENAMED_KEYS.values())])


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["experiment=quickstart", "model/flow=pixel"],
            r"stage=propagation takes its flow from stage.init_from=.* \(stage.flow=null\)",
        ),
        (
            ["stage=segmentor", "model/flow=pixel"],
            "model/flow=pixel has no effect: stage=segmentor takes its flow from stage.flow=src.models",
        ),
        (["hparams_search=optuna"], "hparams_search=optuna has no effect on a single run; add -m"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib has no effect on a single run"),
    ],
)
def test_a_group_choice_without_effect_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_choices(compose_train(*overrides), overrides, multirun=False)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model/flow=pixel"],
        ["experiment=quickstart", "+sweep=fresh_flow", "model/flow=pixel"],
        ["experiment=camvid_lite0", "stage=flow"],
    ],
)
def test_a_group_choice_with_an_effect_passes(overrides: list[str]) -> None:
    cfg = compose_train(*overrides)
    check_choices(cfg, overrides, multirun=False)
    if "model/flow=pixel" in overrides:
        assert cfg.stage.flow._target_.endswith("PixelFlow")
