"""Parts of a training run around the module: initial model, size of a step, loggers, quiet libraries."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import requests
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from src.models.flow.base import FlowEstimator
from src.models.freezing import PartlyFrozen
from src.models.propagator import Propagator
from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.registry import replace_class_head
from src.ops.warp import WarpGrid
from src.training.logging.resilient_wandb import ResilientWandbLogger
from src.weights.model_folder import load_model

log = logging.getLogger(__name__)

_PROBE_SECONDS = 5.0
WandbMode = Literal["auto", "with_key", "online", "offline", "disabled"]

_NOISE = (
    *(("lightning.pytorch.utilities.rank_zero", words) for words in ("Tip: ", "GPU available: ", "TPU available: ")),
    ("lightning.pytorch.trainer.connectors.checkpoint_connector", "`weights_only` was not set"),
    ("lightning.pytorch.utilities.rank_zero", "Found current_model_state in the checkpoint"),
)
_NEEDLESS_WARNINGS = (
    ".*LeafSpec.* is deprecated",  # in Lightning's use of torch
    r"Found \d+ module\(s\) in eval mode at the start of training",  # the frozen parts
    "You're using the WeightAveraging callback with a model that overrides the configure_model",  # no part of it is sharded there
    "You're resuming from a checkpoint that ended before the epoch ended",  # the datamodule continues at that batch
)


def build_propagator(
    segmentor: KeyFrameSegmentor | None,
    flow: FlowEstimator | None,
    init_from: str | None,
    warp_grid: WarpGrid = "exact",
    num_classes: int | None = None,
    new_class_head: bool = False,
    fusion_dim: int | None = None,
) -> Propagator:
    """Build the model that a stage starts from: fresh parts, and parts of an earlier stage for those that are ``None``.

    ``init_from`` is the model folder or checkpoint of the earlier stage. A segmentor of it whose number of classes differs from
    ``num_classes`` of the data is refused, or with ``new_class_head`` receives a new class head. A flow without a fusion head
    receives one of width ``fusion_dim``; ``None`` adds none.
    """
    if init_from is not None:
        if not Path(init_from).exists():
            raise FileNotFoundError(
                f"stage.init_from={init_from} does not exist; run the earlier stage first (stage=segmentor, then stage=flow), "
                "or name a model folder or checkpoint"
            )
        earlier, _ = load_model(init_from)
        taken = [name for name, fresh in (("segmentor", segmentor), ("flow", flow)) if fresh is None]
        if not taken:
            raise ValueError(
                f"stage.init_from={init_from} has no effect, as stage.segmentor and stage.flow are fresh networks; expected "
                "stage.segmentor=null or stage.flow=null with it, or stage.init_from=null"
            )
        log.info("%s taken from %s", " and ".join(taken), init_from)
        if segmentor is None:
            segmentor = earlier.segmentor
            if num_classes not in (None, segmentor.num_classes):
                if not new_class_head:
                    raise ValueError(
                        f"stage.init_from={init_from} has {segmentor.num_classes} classes; expected the data's {num_classes}; "
                        "train its segmentor on the data first (stage=segmentor stage.segmentor=null stage.init_from=<this>)"
                    )
                segmentor = replace_class_head(segmentor, num_classes)
        flow = flow or earlier.flow
    if segmentor is None or flow is None:
        raise ValueError("segmentor or flow estimator is missing; configure both or set stage.init_from")
    if flow.fusion is None:
        flow.add_fusion_head(fusion_dim)
    return Propagator(segmentor, flow, warp_grid)


def check_trainable(network: PartlyFrozen, names: Sequence[str], init_from: str | None) -> None:
    """Raise ``ValueError`` if a part that the stage trains has no trainable parameters, as a flow that copies masks.

    Args:
        network: the model, frozen as in training.
        names: parts that the stage trains.
        init_from: earlier model that the flow is from; ``None`` for a fresh flow.
    """
    for name in names:
        part = network.parts()[name]
        if not any(parameter.requires_grad for parameter in part.parameters()):
            advice = "choose a network, such as model/flow=query"
            if init_from is not None:
                advice = f"{init_from} has no trained flow: run stage=flow and start from its model, or add +sweep=fresh_flow"
            raise ValueError(
                f"stage.objective.trainable: {name} is a {type(part).__name__} without trainable parameters; expected some; "
                f"{advice if name == 'flow' else 'configure its losses'}, or leave {name} out of stage.objective.trainable"
            )


def set_gradient_accumulation(trainer: Trainer, global_batch_size: int | None, batch_size: int) -> None:
    """Accumulate gradients so that an optimizer step has the same number of samples on any number of devices.

    The validation interval is multiplied by the same factor, since Lightning counts forward passes and the configuration counts
    steps. The loss is normalized per pass: 8 passes on one device and one pass on 8 devices differ in the last digits.

    Args:
        trainer: its ``world_size`` has resolved ``devices=auto`` and the number of machines.
        global_batch_size: samples per optimizer step over all devices; ``None`` changes nothing.
        batch_size: samples per device and forward pass.
    """
    if global_batch_size is None:
        return
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            "trainer.accumulate_grad_batches is set together with global_batch_size; to choose it, set global_batch_size=null"
        )
    devices = trainer.world_size
    passes, rest = divmod(global_batch_size, batch_size * devices)
    if rest or not passes:
        fitting = [str(n) for n in range(1, global_batch_size + 1) if global_batch_size % (n * devices) == 0]
        advice = f"batch_size={'|'.join(fitting)}" if fitting else f"a number of devices that divides {global_batch_size}"
        raise ValueError(
            f"global_batch_size={global_batch_size} is not a multiple of {devices} device(s) x batch_size={batch_size}; "
            f"expected {advice}; global_batch_size=null takes steps of {batch_size * devices}"
        )
    trainer.accumulate_grad_batches = passes
    if isinstance(trainer.val_check_interval, int):
        trainer.val_check_interval *= passes
    log.info("one step is %d pairs: %d device(s) x %d pass(es) of %d", global_batch_size, devices, passes, batch_size)


def wandb_logger(
    project: str,
    name: str,
    save_dir: str,
    group: str | None = None,
    job_type: str | None = None,
    tags: list[str] | None = None,
    mode: WandbMode = "auto",
    init_timeout: float = 60.0,
    finish_timeout: float = 300.0,
    job: int | None = None,
) -> ResilientWandbLogger | None:
    """Build the W&B logger: online with an API key and a reachable server, else offline (logged).

    The mode ``with_key`` returns ``None`` where neither an API key nor ``WANDB_MODE`` is set: without output, folder and request.
    ``save_dir`` receives ``wandb/``, from which ``wandb sync`` uploads an offline run. Time limits are in seconds: after
    ``init_timeout`` a run starts offline, and what ``finish_timeout`` leaves is uploaded by ``wandb sync``. ``job`` is the number
    of a run within a multirun, appended to its name.
    """
    if mode not in get_args(WandbMode):
        raise ValueError(f"W&B mode is {mode!r}; expected one of {', '.join(get_args(WandbMode))}")
    if mode == "with_key" and not _is_configured():
        return None
    if mode in ("auto", "with_key"):
        reason = _why_offline()
        mode = "offline" if reason else "online"
        if reason:
            log.info("W&B is offline (%s); upload later with: wandb sync %s/wandb/offline-run-*", reason, save_dir)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    import wandb  # takes a second

    settings = wandb.Settings(init_timeout=init_timeout, finish_timeout=finish_timeout)
    name = name if job is None else f"{name}-{job}"
    return ResilientWandbLogger(
        project=project, name=name, save_dir=save_dir, group=group, job_type=job_type, tags=tags, mode=mode, settings=settings
    )


def tensorboard_logger(save_dir: str) -> TensorBoardLogger:
    """Build the TensorBoard logger of a run folder, with named settings only."""
    return TensorBoardLogger(save_dir, name="tensorboard")


def _why_offline() -> str | None:
    if os.environ.get("WANDB_MODE") in {"offline", "dryrun"}:
        return "WANDB_MODE=offline"
    import wandb  # takes a second

    server = str(wandb.setup().settings.base_url)
    if not _has_key(server):
        return "no API key; `wandb login` sets one"
    try:
        # Any response will do. The timeout keeps a server that accepts connections without responding from delaying the start.
        requests.head(server, timeout=_PROBE_SECONDS)
    except requests.RequestException as error:
        return f"{server} cannot be reached: {error}"
    return None


def _is_configured() -> bool:
    """Return whether the environment has an API key or a mode of W&B, or a netrc file has a key of its server."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return os.environ.get("WANDB_MODE") != "disabled"
    names = [os.environ["NETRC"]] if "NETRC" in os.environ else [f"~/{name}" for name in requests.utils.NETRC_FILES]
    if not any(Path(name).expanduser().exists() for name in names):
        return False
    import wandb  # takes a second and starts a process

    return _has_key(str(wandb.setup().settings.base_url))


def _has_key(server: str) -> bool:
    return bool(os.environ.get("WANDB_API_KEY") or requests.utils.get_netrc_auth(server))


def silence_lightning() -> None:
    """Drop Lightning's advertisements and own log lines, and its warnings about intended behavior of this project.

    Its messages remain in the log of the command, to which it adds handlers of its own: each would appear twice.
    """
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for logger, words in _NOISE:
        logging.getLogger(logger).addFilter(lambda record, words=words: words not in record.getMessage())  # type: ignore[misc]
    for words in _NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=words)


def quiet_other_ranks() -> None:
    """Log only warnings on processes other than the first, whose messages would be the same."""
    if getattr(rank_zero_only, "rank", 0):
        logging.getLogger().setLevel(logging.WARNING)
