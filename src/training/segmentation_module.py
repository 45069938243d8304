"""LightningModule that sums the loss terms of a network, scores its validation labels and logs both."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from src.data.samples import PairBatch
from src.losses.distributed import reduce_mean_over_ranks
from src.metrics.iou import MeanIoU
from src.models.freezing import PartlyFrozen
from src.models.per_sample_rng import clear_per_sample, seed_per_sample
from src.training.optim import AdamWPoly, gradient_norm
from src.training.stages import Terms
from src.training.strategies import set_gathered


class SegmentationModule(LightningModule):
    """Training of one network; subclasses hold it under a name of their own.

    Args:
        optim: optimizer settings.
        num_classes: K, for the validation metric.
        metadata: class names, palette and evaluation size, saved with the model; plain values only.
        seed: seeds every random layer together with sample and step numbers, so that a resumed run repeats the random draws of
            an uninterrupted run.

    Attributes:
        iou_per_class: (K,) IoU of the last validation, for the class table; ``None`` before the first.
    """

    def __init__(self, optim: AdamWPoly, num_classes: int, metadata: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.optim = optim
        self.metadata = metadata
        self.seed = seed
        self.val_iou = MeanIoU(num_classes)
        self.iou_per_class: Tensor | None = None

    @property
    @abstractmethod
    def network(self) -> PartlyFrozen:
        """Return the network that trains."""

    @abstractmethod
    def losses(self, batch: PairBatch) -> Terms:
        """Compute the loss terms of a batch."""

    @abstractmethod
    def model_config(self) -> dict[str, Any]:
        """Return the configuration of the network's model folder, as plain JSON values."""

    @abstractmethod
    def save(self, network: Any, folder: Path) -> None:
        """Write the model folder of the network, or of a gathered copy of it."""

    def random_keys(self, batch: PairBatch) -> Tensor:
        """Return the number that keys the random layers for each image of a forward pass, (N,) int64."""
        return batch.sample_id

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Seed random layers per sample by sample number, and dropout by step: independent of interruptions of the run."""
        seed_per_sample(self.network, self.seed, self.random_keys(batch))
        torch.manual_seed((self.seed * 1_000_003 + batch_idx) * 4_099 + self.global_rank)

    def on_train_batch_end(self, outputs: Any, batch: PairBatch, batch_idx: int) -> None:
        """Clear the per-sample seeds of this batch."""
        clear_per_sample(self.network)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Compute and log the loss terms, and return their sum.

        Raises:
            FloatingPointError: if a loss term or a matching cost is NaN or infinite; the message names the samples.
        """
        samples = ", ".join(batch.names)
        try:
            terms = self.losses(batch)
        except FloatingPointError as error:
            raise FloatingPointError(f"step {self.global_step}: {error}; on {samples}") from error
        broken = [name for name, value in terms.items() if not torch.isfinite(value)]
        if broken:
            raise FloatingPointError(f"step {self.global_step}: loss {', '.join(broken)} is not finite on {samples}")
        size = len(batch.names)
        # The logged loss is the mean over all ranks, reduced in one message for all terms.
        shown = reduce_mean_over_ranks(torch.stack([value.float() for value in terms.values()]))
        self.log_dict({f"train/loss_{name}": value for name, value in zip(terms, shown, strict=True)}, batch_size=size)
        self.log("train/loss", shown.sum(), prog_bar=True, batch_size=size)
        return torch.stack(list(terms.values())).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient norm before clipping, and the learning rate of all but the backbone."""
        # Loggers write every log_every_n_steps steps, and global_step does not count this step yet.
        if (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/gradient_norm", gradient_norm(self.network))
            self.log("train/learning_rate", max(group["lr"] for group in optimizer.param_groups))

    def on_validation_start(self) -> None:
        """Gather the whole model in each process under FSDP."""
        set_gathered(self.network, True)

    def on_validation_end(self) -> None:
        """Shard the model again under FSDP."""
        set_gathered(self.network, False)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/miou`` and ``val/wiou``."""
        scores = self.val_iou.compute()
        self.iou_per_class = scores["iou_per_class"].reshape(-1)  # torchmetrics drops the dimension of a single class
        self.log("val/miou", scores["miou"], prog_bar=True)
        self.log("val/wiou", scores["wiou"])
        self.val_iou.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW over the trainable parameters, and a schedule that steps with every optimizer step."""
        optimizer, schedule = self.optim.build(self.network, int(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's configuration as plain values, so that a .ckpt can be read without other files."""
        checkpoint["model_config"] = self.model_config()
