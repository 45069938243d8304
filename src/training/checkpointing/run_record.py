"""Record of a run in its checkpoints: an identity, and the settings that its results depend on, compared on resuming."""

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.data.samples import PairBatch
from src.files.own_package import own_target
from src.training.checkpointing.checkpoint_files import RUN_KEY, read_checkpoint
from src.training.checkpointing.earlier_run import reopen_log_files
from src.training.optim import take_settings

log = logging.getLogger(__name__)

PASSES = "passes per step"
"""Name of the setting with the forward passes of a process in each optimizer step."""
_ABSENT = "(absent)"
_LONGEST = 60


@dataclass(eq=False)
class RunRecord(Callback):
    """Callback that adds the record to every checkpoint, and checks that all processes start at the same step.

    Args:
        settings: plain values by dotted name.
        run: identity of the run, kept when it is resumed.
    """

    settings: dict[str, Any]
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    _forced: bool = False

    def check(self, checkpoint: Path, force: bool) -> None:
        """Compare the settings with those of a checkpoint to resume from, and take over the identity of its run.

        Each difference is logged as ``<name>: <old> -> <new>``. A checkpoint of an earlier release has no settings: a warning.

        Raises:
            ValueError: if they differ, unless ``force`` is set.
        """
        content = read_checkpoint(checkpoint)
        saved = content.get(RUN_KEY)
        if not isinstance(saved, Mapping) or not isinstance(saved.get("settings"), Mapping):
            log.warning("%s is of an earlier release, without the settings of its run: they are not compared", checkpoint)
            return
        self.run = str(saved.get("id"))
        if saved.get("sha256") == _sha256(self.settings):
            return
        found = differences(saved["settings"], self.settings)
        for line in found:
            log.warning("other setting than in %s: %s", checkpoint.name, line)
        if found and not force:
            raise ValueError(
                f"{checkpoint}: {len(found)} setting(s) of its run differ: {'; '.join(found[:8])}"
                f"{'; ...' if len(found) > 8 else ''}; expected those of the run; resume=force continues with the new ones, "
                "overwrite=true starts again, name=<other> keeps both"
            )
        self._forced = bool(found)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Under forced settings count batches in passes of this run, and continue after the last step of a finished one."""
        if not self._forced:
            return
        step, passes = checkpoint["global_step"], checkpoint[RUN_KEY]["settings"][PASSES]
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        progress["is_last_batch"] &= step >= trainer.max_steps
        for counts in (progress["total"], progress["current"]):
            counts |= {name: count + step * (trainer.accumulate_grad_batches - passes) for name, count in counts.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let forced optimizer settings replace those of the checkpoint.

        Raises:
            RuntimeError: if this process has another step than the first one, as with different views of a disk.
        """
        reopen_log_files()
        if self._forced:
            module: Any = pl_module
            schedule: Any = trainer.lr_scheduler_configs[0].scheduler
            take_settings(trainer.optimizers[0], schedule, module.configure_optimizers()["optimizer"])
        first = trainer.strategy.broadcast(trainer.global_step)
        if first != trainer.global_step:
            raise RuntimeError(
                f"process {trainer.global_rank} starts at step {trainer.global_step}; expected {first}, as the "
                "first one; start the run again when all machines see the same checkpoints"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int) -> None:
        """Let loggers count from the step: Lightning leaves out one after the end of a run that forced settings extend."""
        if self._forced:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add identity, settings and their hash."""
        checkpoint[RUN_KEY] = {"id": self.run, "settings": self.settings, "sha256": _sha256(self.settings)}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the differing settings as ``<name>: <old> -> <new>``, sorted; two names of one file, folder or target are equal."""
    names = sorted({*old, *new})
    pairs = [(name, old.get(name, _ABSENT), new.get(name, _ABSENT)) for name in names]
    return [f"{name}: {_shown(before)} -> {_shown(after)}" for name, before, after in pairs if not _equal(before, after)]


def flatten(value: Any, name: str) -> dict[str, Any]:
    """Return nested plain values by dotted name; a short list of numbers or words stays one value."""
    if isinstance(value, Mapping):
        return {key: leaf for part, inner in value.items() for key, leaf in flatten(inner, f"{name}.{part}").items()}
    if isinstance(value, list | tuple) and (len(json.dumps(value)) > _LONGEST or any(isinstance(x, dict | list) for x in value)):
        return flatten(dict(enumerate(value)), name)
    return {name: value}


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, str) and isinstance(after, str) and before != after:
        with suppress(OSError, ValueError):  # not names of files
            return Path(before).samefile(after)
        return own_target(before) == own_target(after)
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}..."


def _sha256(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
