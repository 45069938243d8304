"""Every choice in conf/ composes, its targets exist, and its arguments are theirs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import get_object, instantiate
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from src.models.propagator import Propagator
from src.train import main
from src.training.checkpointing.checkpoint_files import DurableCheckpointIO
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint
from tests.tiny_run import ROOT, compose_train

CONF = ROOT / "conf"
STAGES = ("segmentor", "flow", "propagation", "fusion", "clips", "recurrent")


@lru_cache
def composed(*overrides: str) -> DictConfig:
    """Compose once per configuration (a quarter of a second); tests must not change the result."""
    return compose_train(*overrides)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


EXPERIMENTS = choices("experiment")
SAVED_ELSEWHERE = ("maskformer", "oneformer", "eomt", "eomt_dinov3", "videomt")
"""Segmentors whose weights and sizes come from the hub."""
# What a choice leaves to the user.
GROUPS = (
    "data", "model/segmentor", "model/flow", "model/clip_segmentor", "stage", "trainer", "logger", "callbacks", "paths", "debug",
    "hparams_search",
)  # fmt: skip
NEEDED = {
    "model/segmentor=mask2former": ["model.segmentor.backbone=tiny"],
    "model/segmentor=pretrained": ["model.segmentor.path_or_id=x"],
    "model/flow=pretrained": ["model.flow.path=x"],
    "trainer=ddp_multinode": ["trainer.num_nodes=2", "trainer.devices=4"],
}


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every dict with a ``_target_``, with its dotted path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, dict) and "_target_" in value:
        yield path, value
    for key, item in items:
        yield from nodes(item, f"{path}.{key}" if path else str(key))


def check_targets(cfg: DictConfig) -> int:
    """Check that every ``_target_`` can be imported and takes its arguments."""
    found = list(nodes(OmegaConf.to_container(cfg, resolve=True)))
    for path, node in found:
        target = get_object(node["_target_"])
        arguments = {name: value for name, value in node.items() if not name.startswith("_")}
        parameters = inspect.signature(target).parameters
        unknown = set(arguments) - set(parameters)
        assert not unknown, f"{path}: {node['_target_']} takes no {unknown}"
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), f"{path}: **kwargs would hide a misspelt key"
        # Lightning's own, given by the entry point.
        given = set(arguments) | {"logger", "callbacks"}
        needed = {name for name, p in parameters.items() if p.default is p.empty}
        assert needed <= given, f"{path}: {node['_target_']} needs {needed - given}"
    return len(found)


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_every_group_composes(group: str) -> None:
    assert choices(group)
    for choice in choices(group):
        needed = NEEDED.get(f"{group}={choice}", [])
        assert check_targets(compose_train(f"{group}={choice}", *needed)) > 10, f"{group}={choice}"


def test_every_group_is_tested() -> None:
    groups = {str(path.parent.relative_to(CONF)) for path in CONF.rglob("*.yaml")}
    elsewhere = {
        "scheduler": "commands/test_predict.py",
        "engine": "commands/parallel/test_videos.py",
        "sweep": "test_sweeps.py",
        "hydra/launcher": "test_multirun.py",
    }
    assert groups - {*GROUPS} - set(elsewhere) == {".", "hydra", "experiment", "recipe", "data/base"}
    assert all((Path(__file__).parent / name).is_file() for name in elsewhere.values())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_with_every_stage(experiment: str, stage: str) -> None:
    cfg = composed(f"experiment={experiment}", f"stage={stage}")
    check_targets(cfg)
    assert cfg.stage.name == stage
    assert cfg.run_dir == f"outputs/{experiment}/{stage}"
    # What must fit together for the run to end in order.
    assert cfg.trainer.max_steps % cfg.trainer.val_check_interval == 0


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_of_the_optimizer_can_be_set(stage: str) -> None:
    """Without a plus sign in every stage, so that a sweep does not depend on the stage."""
    optim = composed(f"stage={stage}").stage.optim
    assert set(optim) == {"_target_", *(field.name for field in fields(get_object(optim._target_)))}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_later_overrides_win(experiment: str) -> None:
    """Experiment < recipe < debug < command line."""
    cfg = compose_train(f"experiment={experiment}", "stage=flow", "debug=fast", "data.val_samples=7")
    assert (cfg.trainer.max_steps, cfg.data.val_samples) == (2, 7)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_and_recipes_change_only_keys_that_exist(experiment: str, stage: str) -> None:
    """Hydra merges unknown keys of files silently: a misspelt key would have no effect."""
    cfg = composed(f"experiment={experiment}", f"stage={stage}")
    plain = composed(*(f"{group}={choice}" for group, choice in _group_choices(experiment)), f"stage={stage}")
    known = set(_leaves(OmegaConf.to_container(plain)))
    for file in (CONF / "experiment" / f"{experiment}.yaml", CONF / "recipe" / f"{experiment}_{stage}.yaml"):
        if not file.exists():
            continue
        changed = OmegaConf.to_container(OmegaConf.load(file))
        changed.pop("defaults", None)
        # A node with a _target_ of its own is checked where it is instantiated.
        own = {path for path, _ in nodes(changed)}
        for leaf in _leaves(changed):
            assert leaf in known or any(leaf.startswith(path) for path in own), f"{file.name}: {leaf} is no key of the config"
    assert cfg.name == experiment


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _group_choices(experiment: str) -> list[tuple[str, str]]:
    defaults = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml").get("defaults", [])
    pairs = [next(iter(entry.items())) for entry in defaults if isinstance(entry, DictConfig)]
    return [(key.removeprefix("override ").strip("/"), value) for key, value in pairs]


@pytest.mark.parametrize("experiment", [x for x in EXPERIMENTS if x.startswith(("vspw", "cityscapes")) and "mrcfa" not in x])
def test_the_published_models_differ_in_data_and_backbone_alone(experiment: str) -> None:
    data, backbone = experiment.split("_")
    cfg, r50 = (composed(f"experiment={name}", "stage=segmentor") for name in (experiment, f"{data}_r50"))
    assert (cfg.data.name, cfg.global_batch_size, cfg.trainer.max_steps) == (data, 16, 90_000)
    assert cfg.model.segmentor == compose_train(f"model/segmentor={backbone}", f"data={data}").model.segmentor
    for key in ("stage.optim", "trainer.precision", "trainer.devices", "batch_size", "data", "model.flow"):
        assert OmegaConf.select(cfg, key) == OmegaConf.select(r50, key), key
    # Weights from elsewhere are one choice away, whatever the experiment says.
    chosen = compose_train(f"experiment={experiment}", "model/segmentor=pretrained", "model.segmentor.path_or_id=facebook/x")
    assert chosen.model.segmentor == {
        "_target_": "src.models.segmentors.registry.load_segmentor",
        "path_or_id": "facebook/x",
        "num_classes": cfg.data.num_classes,
    }


@pytest.mark.parametrize("data", choices("data"))
def test_data_configs_are_differences_from_their_base(data: str) -> None:
    file = OmegaConf.to_container(OmegaConf.load(CONF / "data" / f"{data}.yaml"))
    base = file.pop("defaults")[0].split("@")[0]
    with initialize_config_dir(str(CONF / "data"), version_base="1.3"):
        inherited = OmegaConf.to_container(compose(base))
    for part in base.split("/")[:-1]:
        inherited = inherited[part]
    repeated = {key for key, value in file.items() if inherited.get(key, ...) == value}
    assert not repeated, f"conf/data/{data}.yaml repeats {repeated} of {base}"


def test_experiments_are_differences_only() -> None:
    for folder in ("experiment", "recipe"):
        for path in (CONF / folder).glob("*.yaml"):
            assert len(path.read_text().splitlines()) <= 25, path.name


def test_recipes_belong_to_an_experiment_and_a_stage() -> None:
    """Recipes are optional, so a misspelt file name would be ignored."""
    assert set(choices("recipe")) <= {f"{experiment}_{stage}" for experiment in EXPERIMENTS for stage in STAGES}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "clips"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_networks_of_every_experiment_can_be_built(experiment: str, stage: str) -> None:
    cfg = deepcopy(composed(f"experiment={experiment}", f"stage={stage}"))
    cfg.data.num_classes = cfg.data.num_classes or 3  # of own data, in its classes.yaml
    if (cfg.stage.flow or cfg.model.flow)._target_.endswith("load_flow"):
        pytest.skip("starts from the flow of another run")
    cfg.model.segmentor.pretrained_backbone = False
    with torch.device("meta"):
        segmentor = instantiate(cfg.stage.segmentor or cfg.model.segmentor)
        flow = instantiate(cfg.stage.flow or cfg.model.flow)
        flow.add_fusion_head(cfg.stage.get("fusion_dim"))
    propagator = Propagator(segmentor, flow, cfg.model.warp_grid)
    objective = instantiate(cfg.stage.objective)
    propagator.set_trainable(objective.trainable)
    optimizer, _ = instantiate(cfg.stage.optim).build(propagator, cfg.trainer.max_steps)
    assert optimizer.param_groups[0]["params"]
    if stage != "segmentor":
        assert getattr(flow, "num_queries", segmentor.num_queries) == segmentor.num_queries


@pytest.mark.parametrize("size, millions", [("b0", 5.28), ("b1", 16.32), ("b2", 27.37), ("b5", 84.61)])
def test_the_published_clip_segmentors_differ_in_their_encoder(size: str, millions: float) -> None:
    name = "camvid_mrcfa_b0" if size == "b0" else f"vspw_mrcfa_{size}"
    cfg, b1 = composed(f"experiment={name}", "data=vspw"), composed("experiment=vspw_mrcfa_b1")
    assert cfg.stage.name == "clips" and cfg.model.clip_segmentor.weights is None
    with torch.device("meta"):
        segmentor = instantiate(cfg.stage.segmentor, _convert_="all")
    assert round(sum(p.numel() for p in segmentor.parameters()) / 1e6, 2) == millions
    objective, optim = instantiate(cfg.stage.objective), instantiate(cfg.stage.optim)
    segmentor.set_trainable(objective.trainable)
    assert optim.build(segmentor, cfg.trainer.max_steps)[0].param_groups
    if size != "b0":
        for key in (
            "stage.optim",
            "stage.objective",
            "trainer.max_steps",
            "batch_size",
            "global_batch_size",
            "data",
            "datamodule",
        ):
            assert OmegaConf.select(cfg, key) == OmegaConf.select(b1, key), key


@pytest.mark.parametrize(
    "choice", [name for name in choices("model/segmentor") if name not in ("mask2former", "pretrained", *SAVED_ELSEWHERE)]
)
def test_every_segmentor_can_be_built(choice: str) -> None:
    cfg = compose_train(f"model/segmentor={choice}", "data=vspw", "model.segmentor.pretrained_backbone=false")
    with torch.device("meta"):
        segmentor = instantiate(cfg.model.segmentor)
    assert (segmentor.num_classes, segmentor.num_queries) == (124, cfg.model.segmentor.num_queries)


@pytest.mark.parametrize("choice", SAVED_ELSEWHERE)
def test_the_flow_is_built_for_the_queries_of_a_segmentor_from_elsewhere(choice: str) -> None:
    cfg = compose_train(f"model/segmentor={choice}", "data=vspw", "model/flow=query")
    flow, segmentor = cfg.model.flow, cfg.model.segmentor
    assert (flow.num_queries, flow.query_dim) == (segmentor.num_queries, segmentor.query_dim)
    assert segmentor.num_classes == 124


@pytest.mark.parametrize("choice", [name for name in choices("model/flow") if name != "pretrained"])
def test_every_flow_can_be_built(choice: str) -> None:
    cfg = compose_train(f"model/flow={choice}")
    # RAFT's weights are torchvision's and would have to be fetched.
    weightless = {"weights": None} if "weights" in cfg.model.flow else {}
    with torch.device("meta"):
        flow = instantiate(cfg.model.flow, **weightless)
    written = OmegaConf.to_container(cfg.model.flow, resolve=True)
    assert {name: value for name, value in flow.config().items() if name in written} == {
        name: value for name, value in written.items() if name not in ("_target_", *weightless)
    }


def test_the_default_flow_has_the_papers_size() -> None:
    cfg = compose_train("model/segmentor=swint")
    with torch.device("meta"):
        flow = instantiate(cfg.model.flow)
    assert round(sum(p.numel() for p in flow.parameters()) / 1e6, 3) == 40.085


@pytest.mark.parametrize("data", choices("data"))
def test_data_configs_can_be_built(data: str) -> None:
    cfg = compose_train(f"data={data}").data
    for name in ("pair_sampling", "triplet_sampling", "clip_sampling", "motion", "train_transform", "eval_transform"):
        assert (instantiate(cfg[name]) is None) == (cfg[name] is None)


def test_trainer_callbacks_and_objectives_can_be_built(tmp_path: Path) -> None:
    cfg = compose_train(f"paths.runs={tmp_path}", "trainer.accelerator=cpu")
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    trainer = instantiate(cfg.trainer, logger=False, callbacks=callbacks, _convert_="all")
    assert isinstance(trainer, Trainer) and trainer.max_steps == 90000
    # A trainer adds its own checkpoints where it sees none. The newest holds the state of the best, so it is saved after it.
    assert [type(callback) for callback in trainer.checkpoint_callbacks] == [ModelCheckpoint, PeriodicCheckpoint]
    assert isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO)


def test_monitored_metrics_are_logged() -> None:
    """tests/commands/test_train.py checks that these metrics are logged."""
    cfg = OmegaConf.to_container(compose_train())
    monitored = {node["monitor"] for _, node in nodes(cfg) if node.get("monitor")}
    assert monitored <= {"val/miou", "val/wiou", "train/loss", "step"}


@pytest.mark.parametrize("data", choices("data"))
def test_the_evaluation_composes_with_every_data_set(data: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("eval", [f"data={data}", "checkpoint=a", "output=b.json"])
    check_targets(cfg)
    assert (cfg.short_side, cfg.max_long_side) == (cfg.data.eval.short_side, cfg.data.eval.max_long_side)


@pytest.mark.parametrize("override", ["trianer.max_steps=3", "trainer.max_step=3", "stage.optim.learning_rate=1", "stge=flow"])
def test_a_misspelt_key_does_not_compose(override: str) -> None:
    with pytest.raises(ConfigCompositionException):
        compose_train(override)


@pytest.mark.parametrize(
    "node, key",
    [
        ("stage.optim", "learning_rate"),
        ("stage.objective", "trainables"),
        ("mask_loss", "num_point"),
        ("model.flow", "layers"),
        ("model.segmentor", "queries"),
        ("data.pair_sampling", "offset"),
        ("callbacks.checkpoint", "every"),
        ("trainer", "max_step"),
        ("logger.csv", "folder"),
    ],
)
def test_unknown_argument_is_refused(node: str, key: str, tmp_path: Path) -> None:
    cfg = compose_train("model/segmentor=tiny", "logger=csv", f"paths.runs={tmp_path}", f"+{node}.{key}=1")
    with pytest.raises((InstantiationException, TypeError), match=key):
        instantiate(OmegaConf.select(cfg, node))


def test_the_command_refuses_a_misspelt_key_at_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "experiment=quickstart", "trainer.max_step=3"])
    with pytest.raises(SystemExit) as stopped:
        main()
    GlobalHydra.instance().clear()
    assert stopped.value.code == 1
    assert caplog.messages == ["trainer.max_step is no option; did you mean trainer.max_steps?"]
    assert "Traceback" not in capfd.readouterr().err
