import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from src.models.flow import CopyFlow
from src.training import wiring
from src.training.wiring import (
    build_propagator,
    set_gradient_accumulation,
    silence_lightning,
    wandb_logger,
)
from src.weights.model_folder import save_model
from tests.inference.tiny import tiny_propagator, tiny_segmentor
from tests.tiny_run import compose_train


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_stage_takes_the_missing_parts_from_an_earlier_stage(tmp_path: Path) -> None:
    earlier = tiny_propagator("query")
    folder = str(save_model(earlier, tmp_path / "model"))
    both = build_propagator(None, None, folder)
    assert same(both, earlier)
    flow = CopyFlow()
    assert build_propagator(None, flow, folder, "reference").flow is flow
    assert same(build_propagator(None, flow, folder).segmentor, earlier.segmentor)
    segmentor = tiny_segmentor()
    fresh = build_propagator(segmentor, None, folder, "reference")
    assert fresh.segmentor is segmentor and same(fresh.flow, earlier.flow) and fresh.warp_grid == "reference"
    assert build_propagator(segmentor, flow, None).warp_grid == "exact"


def test_a_flow_receives_a_fusion_head_unless_it_has_one(tmp_path: Path) -> None:
    folder = str(save_model(tiny_propagator("dis"), tmp_path / "model"))
    assert build_propagator(None, None, folder).flow.fusion is None
    model = build_propagator(None, None, folder, fusion_dim=4)
    assert model.flow.config()["fusion_dim"] == 4
    folder = str(save_model(model, tmp_path / "fused"))
    assert build_propagator(None, None, folder, fusion_dim=8).flow.config()["fusion_dim"] == 4
    with pytest.raises(ValueError, match="flow is a CopyFlow; expected dis"):
        build_propagator(tiny_segmentor(), CopyFlow(), None, fusion_dim=4)


def test_segmentor_of_other_classes_gets_a_new_class_head_or_is_refused(tmp_path: Path) -> None:
    earlier = tiny_propagator("copy")
    folder, known = str(save_model(earlier, tmp_path / "model")), earlier.segmentor.num_classes
    with pytest.raises(ValueError, match=f"has {known} classes; expected the data's {known + 3}"):
        build_propagator(None, CopyFlow(), folder, num_classes=known + 3)
    assert same(build_propagator(None, CopyFlow(), folder, num_classes=known, new_class_head=True), earlier)
    segmentor = build_propagator(None, CopyFlow(), folder, num_classes=known + 3, new_class_head=True).segmentor
    assert segmentor.num_classes == known + 3
    before, after = earlier.segmentor.state_dict(), segmentor.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    head = {id(parameter) for parameter in segmentor.parts()["class_head"].parameters()}
    assert before.keys() == after.keys()
    assert changed == {name for name, parameter in segmentor.named_parameters() if id(parameter) in head}


def test_missing_part_or_earlier_stage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="segmentor or flow estimator is missing"):
        build_propagator(None, CopyFlow(), None)
    with pytest.raises(FileNotFoundError, match=r"stage.init_from=.*nowhere does not exist; run the earlier stage first"):
        build_propagator(None, CopyFlow(), str(tmp_path / "nowhere"))


@pytest.fixture
def networked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment with an API key and a server that responds."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wiring.requests, "head", lambda *_, **__: None)


def offline_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> str | None:
    """Return the logged reason for an offline logger, or ``None`` for an online one."""
    with caplog.at_level(logging.INFO):
        logger = wandb_logger("mpvss", "a", str(tmp_path / "run"), group="g", job_type="flow", tags=["x"])
    settings = logger._wandb_init
    assert (settings["group"], settings["job_type"], settings["tags"]) == ("g", "flow", ["x"])
    assert (tmp_path / "run").is_dir()
    said = [message for message in caplog.messages if "W&B is offline" in message]
    assert settings["mode"] == ("offline" if said else "online")
    assert all(f"wandb sync {tmp_path}/run/wandb/offline-run-*" in message for message in said)
    return said[0] if said else None


def test_wandb_is_online_with_a_key_and_a_server(networked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert offline_reason(tmp_path, caplog) is None


def test_wandb_is_offline_without_a_key(
    networked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(wiring.requests.utils, "get_netrc_auth", lambda *_: None)
    assert "no API key; `wandb login` sets one" in str(offline_reason(tmp_path, caplog))


@pytest.mark.parametrize(
    "environment, machine, used",
    [({}, None, False), ({}, "other.org", False), ({}, "wandb.test", True), ({"WANDB_API_KEY": "k" * 40}, None, True),
     ({"WANDB_MODE": "offline"}, None, True), ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k" * 40}, None, False)],
    ids=["nothing", "other key", "netrc", "key", "offline", "disabled"],
)  # fmt: skip
def test_the_default_logger_is_local_without_a_key(
    networked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str], machine: str | None, used: bool,
) -> None:  # fmt: skip
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if machine is not None:
        (tmp_path / "netrc").write_text(f"machine {machine} login user password {'k' * 40}\n")
    settings = SimpleNamespace(settings=SimpleNamespace(base_url="https://wandb.test"))
    monkeypatch.setattr("wandb.setup", lambda: settings)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    node = compose_train(f"run_dir={tmp_path / 'run'}").logger.wandb
    with caplog.at_level(logging.INFO):
        logger = instantiate(node)
    assert (logger is not None) == used == (tmp_path / "run").exists()
    assert used or not caplog.messages
    assert compose_train("logger=both").logger.wandb.mode == "auto"


def test_wandb_is_offline_if_its_server_does_not_respond(
    networked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(server: str, timeout: float) -> None:
        assert timeout <= 5 and server.startswith("http")
        raise wiring.requests.ConnectTimeout("timed out")

    monkeypatch.setattr(wiring.requests, "head", refuse)
    assert "cannot be reached: timed out" in str(offline_reason(tmp_path, caplog))


def test_wandb_mode_of_the_environment_is_respected(
    networked: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "WANDB_MODE=offline" in str(offline_reason(tmp_path, caplog))
    with pytest.raises(ValueError, match="W&B mode is 'of-line'; expected one of auto, with_key, online"):
        wandb_logger("mpvss", "a", str(tmp_path), mode="of-line")


def test_only_the_listed_messages_are_dropped(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    names = "lightning.pytorch.utilities.rank_zero", "lightning.pytorch.trainer.connectors.checkpoint_connector"
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        monkeypatch.setattr(logger, "filters", [])
        monkeypatch.setattr(logger, "handlers", [caplog.handler])
        monkeypatch.setattr(logger, "level", logging.INFO)
        monkeypatch.setattr(logger, "propagate", False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        silence_lightning()
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    loggers[0].info("💡 Tip: install this")
    for line in ("GPU available: False, used: False", "TPU available: False", "`Trainer.fit` stopped: `max_steps=2` reached."):
        loggers[0].info(line)
    loggers[1].info("`weights_only` was not set, defaulting to `False`.")
    assert [str(warning.message) for warning in warned] == ["something else"]
    assert caplog.messages == ["`Trainer.fit` stopped: `max_steps=2` reached."]


def test_a_message_of_lightning_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    own = logging.getLogger("lightning")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [caplog.handler])
    monkeypatch.setattr(own, "level", logging.INFO)
    own.info("restored")
    assert caplog.messages == ["restored", "restored"]
    silence_lightning()
    caplog.clear()
    own.info("restored")
    assert caplog.messages == ["restored"]


def trainer_on(devices: int, accumulate: int = 1) -> Any:
    return SimpleNamespace(world_size=devices, accumulate_grad_batches=accumulate, val_check_interval=5000)


@pytest.mark.parametrize("devices, batch_size, passes", [(8, 2, 1), (4, 2, 2), (1, 2, 8), (1, 16, 1), (16, 1, 1)])
def test_step_has_the_same_size_on_any_number_of_devices(devices: int, batch_size: int, passes: int) -> None:
    trainer = trainer_on(devices)
    set_gradient_accumulation(trainer, 16, batch_size)
    assert devices * batch_size * trainer.accumulate_grad_batches == 16 and trainer.accumulate_grad_batches == passes
    # Still every 5,000 steps.
    assert trainer.val_check_interval == 5000 * passes


def test_indivisible_global_batch_size_is_refused() -> None:
    untouched = trainer_on(2, accumulate=3)
    set_gradient_accumulation(untouched, None, 7)
    assert (untouched.accumulate_grad_batches, untouched.val_check_interval) == (3, 5000)
    with pytest.raises(ValueError, match="to choose it, set global_batch_size=null"):
        set_gradient_accumulation(untouched, 16, 2)
    with pytest.raises(ValueError, match=r"4 device\(s\) x batch_size=3; expected batch_size=1\|2\|4; .* steps of 12"):
        set_gradient_accumulation(trainer_on(4), 16, 3)
    with pytest.raises(ValueError, match="batch_size=2; expected batch_size=1;"):
        set_gradient_accumulation(trainer_on(16), 16, 2)
    with pytest.raises(ValueError, match="expected a number of devices that divides 16"):
        set_gradient_accumulation(trainer_on(6), 16, 1)
