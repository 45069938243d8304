"""Detection of NaN and infinite gradients, and the saved step to repeat."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file

from src.data.samples import PairBatch
from src.files.atomic_write import atomic_path, write_text
from src.training.strategies import full_tensor, is_sharded

log = logging.getLogger(__name__)

_TENSORS, _METADATA = "batch.safetensors", "batch.json"


@dataclass(frozen=True)
class NonFiniteStep:
    """A training step that failed: its input, the number of its forward pass, which seeds dropout, and the error's message."""

    batch: PairBatch
    batch_idx: int
    reason: str

    def write(self, folder: Path) -> None:
        """Write ``batch.safetensors`` and ``batch.json``, replacing files of these names."""
        tensors = {name: value.cpu().contiguous() for name, value in self.batch._asdict().items() if torch.is_tensor(value)}
        with atomic_path(folder / _TENSORS) as unfinished:
            save_file(tensors, unfinished)
        metadata = {"reason": self.reason, "batch_idx": self.batch_idx, "names": self.batch.names}
        write_text(folder / _METADATA, json.dumps(metadata, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> NonFiniteStep:
        """Read a folder of :meth:`write`; absent files and other content are an error."""
        for name in (_TENSORS, _METADATA):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} does not exist; expected <run_dir>/broken/step_<step>_rank_<rank>")
        try:
            metadata = json.loads((folder / _METADATA).read_text(encoding="utf-8"))
            tensors: dict[str, Any] = {"flow": None} | load_file(folder / _TENSORS)
            batch = PairBatch(**tensors, names=[str(name) for name in metadata["names"]])
            return cls(batch, int(metadata["batch_idx"]), str(metadata["reason"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"{folder} does not hold a saved step ({error}); expected {_TENSORS} and {_METADATA}") from error


class NonFiniteGuard(Callback):
    """Callback that checks gradients before the optimizer step, and saves batch and weights of a step that is not finite.

    The training step checks the loss. Gradients under a gradient scaler (fp16) are not checked: the scaler skips a step with
    infinite gradients and continues with a smaller scale.

    Args:
        folder: folder that receives ``step_<step>_rank_<rank>/``, for ``replay=<path>``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._current: tuple[PairBatch, int] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int) -> None:
        """Store the batch."""
        self._current = (batch, batch_idx)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise ``FloatingPointError`` with parameters and samples if a gradient is not finite and no scaler skips the step."""
        if getattr(trainer.precision_plugin, "scaler", None) is not None or self._current is None:
            return
        named = [(name, value.grad) for name, value in pl_module.named_parameters() if value.grad is not None]
        # One norm of all gradients needs a single synchronisation with the device.
        if not named or torch.isfinite(full_tensor(torch.nn.utils.get_total_norm([grad for _, grad in named]))):
            return
        broken = [name for name, grad in named if not full_tensor(torch.isfinite(grad).all())]
        which = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "") or "their norm"
        samples = ", ".join(self._current[0].names)
        raise FloatingPointError(f"step {trainer.global_step}: gradient of {which} is not finite on {samples}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the failed step."""
        if not isinstance(exception, FloatingPointError) or self._current is None:
            return
        batch, batch_idx = self._current
        folder = self.folder / f"step_{trainer.global_step:07d}_rank_{trainer.global_rank}"
        NonFiniteStep(batch, batch_idx, str(exception)).write(folder)
        module: Any = pl_module
        if is_sharded(module.network):
            log.error("saved the batch in %s, but not the sharded weights: not all processes fail together", folder)
            return
        module.save(module.network, folder / "model")
        log.error("saved batch and weights; the same command with replay=%s repeats the step", folder)
