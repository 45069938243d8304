"""Every option of every composed configuration has a type, and every type an option."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from omegaconf import OmegaConf

from src.command_line.composition import composed
from src.inference.streaming import Mode
from src.models.fusion import FusionRule
from src.options import fields
from src.options.check import check, kinds_of
from src.options.models import MODELS
from src.options.signatures import parameters

CONF = Path(__file__).resolve().parents[2] / "conf"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


DATA = [(name, [f"data={data}"]) for data in choices("data") for name in ("predict", "check_data")]
DATA += [("train", [f"data={data}"]) for data in choices("data")]
EXPERIMENTS = [("train", [f"experiment={one}"]) for one in choices("experiment")]
EXPERIMENTS += [("train", ["experiment=camvid_correlation", f"stage={stage}"]) for stage in choices("stage")]
GROUPS = [
    *(("predict", [f"scheduler={one}"]) for one in choices("scheduler")),
    *(
        ("train", [f"{group}={one}"])
        for group in ("model/flow", "model/segmentor", "trainer", "logger")
        for one in choices(group)
    ),
    *(("train", [f"+sweep={one}"]) for one in choices("sweep") if one not in ("key_interval", "mode")),
    *(("eval", [f"+sweep={one}"]) for one in ("key_interval", "mode")),
    *((name, []) for name in ("benchmark", "convert", "demo", "export")),
]


@pytest.mark.parametrize("name, overrides", [*DATA, *EXPERIMENTS, *GROUPS], ids=str)
def test_every_option_of_conf_has_a_type_that_its_default_meets(name: str, overrides: list[str]) -> None:
    values: Any = OmegaConf.to_container(composed(name, overrides), resolve=True)
    problems = [one for one in check(MODELS[name], values) if "is null" not in one.reason and "???" not in one.reason]
    assert not problems


@pytest.mark.parametrize("name", MODELS)
def test_every_type_belongs_to_an_option_of_conf(name: str) -> None:
    seen = set()
    groups = [["data=" + data] for data in choices("data")] if "data" in MODELS[name].model_fields else [[]]
    for overrides in [*groups, ["scheduler=adaptive"], ["+sweep=flow"]]:
        if not (overrides == ["scheduler=adaptive"] and name != "predict") and not (
            overrides == ["+sweep=flow"] and name != "train"
        ):
            seen |= set(OmegaConf.to_container(composed(name, overrides)))
    inherited = {"flow_choice", "flow_choices", "flow_trainable", "flow_queries"} if name == "benchmark" else set()
    assert set(MODELS[name].model_fields) - inherited == seen - {"defaults"}


def test_options_inside_groups_are_typed() -> None:
    values: Any = OmegaConf.to_container(composed("train", []), resolve=True)
    typed = dict(kinds_of(MODELS["train"], values))
    assert {"trainer.max_steps", "stage.optim.lr", "data.scenes.size", "mask_loss.num_points", "model.warp_grid"} <= set(typed)


@pytest.mark.parametrize(
    "value, accepted", [(True, True), (False, True), ("force", True), ("no", False), ("true", False), (1, False)]
)
def test_resume_is_true_false_or_force(value: object, accepted: bool) -> None:
    values: Any = OmegaConf.to_container(composed("train", ["data=moving_scenes"]), resolve=True)
    reasons = [one.reason for one in check(MODELS["train"], values | {"resume": value}) if one.key == "resume"]
    assert not reasons if accepted else "expected true | false | force" in reasons[0]


def test_every_target_of_conf_has_readable_parameters() -> None:
    names = {name for path in CONF.rglob("*.yaml") for name in re.findall(r"_target_: ([\w.]+)", path.read_text())}
    # Keywords of these are passed on to a library.
    other = {"src.training.checkpointing.checkpoint_files.DurableCheckpointIO"}
    unreadable = {name for name in names if name.startswith(("src.", "lightning.")) and parameters(name) is None}
    assert len(names) > 50 and unreadable <= other


def test_modes_and_fusions_are_those_of_the_stream() -> None:
    assert get_args(fields.Fusion) == get_args(FusionRule)
    assert get_args(fields.Mode) == get_args(Mode)
