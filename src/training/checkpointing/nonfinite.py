"""What is kept of a step whose loss or gradients are not numbers, so that it can be computed again."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from src.files.atomic_write import atomic_path, write_text
from src.structures import PairBatch
from src.weights.model_folder import save_model

log = logging.getLogger(__name__)

_TENSORS, _FACTS = "batch.safetensors", "batch.json"


@dataclass(frozen=True)
class NonFiniteStep:
    """One step as it was.

    Attributes:
        batch: what the network saw, on the CPU.
        batch_idx: number of the forward pass, which seeds dropout.
        reason: the error's message.
    """

    batch: PairBatch
    batch_idx: int
    reason: str

    def write(self, folder: Path) -> None:
        """As ``batch.safetensors`` and ``batch.json``; files of these names are replaced."""
        tensors = {name: value.cpu().contiguous() for name, value in self.batch._asdict().items() if torch.is_tensor(value)}
        with atomic_path(folder / _TENSORS) as unfinished:
            save_file(tensors, unfinished)
        facts = {"reason": self.reason, "batch_idx": self.batch_idx, "names": self.batch.names}
        write_text(folder / _FACTS, json.dumps(facts, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> NonFiniteStep:
        """From such a folder.

        Raises:
            FileNotFoundError: if it is none.
            ValueError: if its files are not as :meth:`write` leaves them.
        """
        for name in (_TENSORS, _FACTS):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} does not exist; expected a folder that a run with a broken step left")
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            tensors: dict[str, Any] = {"flow": None} | load_file(folder / _TENSORS)
            batch = PairBatch(**tensors, names=[str(name) for name in facts["names"]])
            return cls(batch, int(facts["batch_idx"]), str(facts["reason"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"{folder} does not hold a saved step ({error}); expected {_TENSORS} and {_FACTS}") from error


class NonFiniteGuard(Callback):
    """Checks the gradients before they reach the optimiser; of a step with a broken loss or gradient keeps batch and weights.

    The loss is checked in the training step. Gradients that a gradient scaler (fp16) finds infinite are none of its business: the
    scaler leaves such a step out and goes on with a smaller scale.

    Args:
        folder: receives ``step_<step>_rank_<rank>/``, which ``replay=<that>`` computes again.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._current: tuple[PairBatch, int] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int) -> None:
        """Remember the batch."""
        self._current = (batch, batch_idx)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the gradients.

        Raises:
            FloatingPointError: if one is NaN or infinite and no scaler handles it; names parameters and samples.
        """
        if getattr(trainer.precision_plugin, "scaler", None) is not None or self._current is None:
            return
        named = [(name, value.grad) for name, value in pl_module.named_parameters() if value.grad is not None]
        # One number for all, so that a device is waited for once.
        if not named or torch.isfinite(_whole(torch.nn.utils.get_total_norm([grad for _, grad in named]))):
            return
        broken = [name for name, grad in named if not _whole(torch.isfinite(grad).all())]
        which = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "") or "their norm"
        samples = ", ".join(self._current[0].names)
        raise FloatingPointError(f"step {trainer.global_step}: gradient of {which} is not finite on {samples}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what is needed to compute the step again."""
        if not isinstance(exception, FloatingPointError) or self._current is None:
            return
        batch, batch_idx = self._current
        folder = self.folder / f"step_{trainer.global_step:07d}_rank_{trainer.global_rank}"
        NonFiniteStep(batch, batch_idx, str(exception)).write(folder)
        module: Any = pl_module
        if any(isinstance(parameter, DTensor) for parameter in module.parameters()):
            log.error("the batch is kept in %s; the weights are not: each process has but a share, and not all come here", folder)
            return
        save_model(module.propagator, folder / "model", module.metadata)
        log.error("batch and weights are kept: the same command plus replay=%s computes the step again", folder)


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
