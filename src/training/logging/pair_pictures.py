"""Pictures of validation samples, as files and in W&B."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from torch import Tensor

from src.data.clips import ClipDataset
from src.data.samples import PairBatch
from src.training.stages import StagePrediction
from src.visualization.class_colors import class_palette
from src.visualization.palette import PaletteChoice
from src.visualization.panels import comparison_panel, pair_panel


class PairPictures(Callback):
    """Draws the first validation samples at every validation: as files, and to W&B under ``val/pictures``.

    Args:
        folder: folder of the PNG files, with one folder per step in it.
        num_samples: number of samples to draw.
        palette: colors of the classes.
    """

    def __init__(self, folder: str, num_samples: int, palette: PaletteChoice = "names") -> None:
        self.folder = Path(folder)
        self.num_samples = num_samples
        self.palette = palette
        self._pictures: list[tuple[str, Tensor]] = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw one sample from the :class:`StagePrediction` or the labels (B, H, W) that the validation step returned."""
        if batch_idx >= self.num_samples or not trainer.is_global_zero or trainer.sanity_checking:
            return
        data: ClipDataset = trainer.datamodule.val  # type: ignore[attr-defined]
        palette = class_palette(data.classes, data.chosen_colors, self.palette)
        if "labels" in outputs:
            image, label, found = (x[0].cpu() for x in (batch.nonkey_image, batch.nonkey_label, outputs["labels"]))
            self._pictures.append((batch.names[0], comparison_panel(image, label, {"prediction": found}, palette)))
            return
        outcome: StagePrediction = outputs["prediction"]
        picture = pair_panel(
            key_image=batch.key_image[0].cpu(),
            nonkey_image=batch.nonkey_image[0].cpu(),
            label=batch.nonkey_label[0].cpu(),
            prediction=outcome.nonkey,
            flow=outcome.flow,
            target_flow=None if batch.flow is None else batch.flow[0].cpu(),
            palette=palette,
            key_prediction=outcome.key,
        )
        self._pictures.append((batch.names[0], picture))

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the pictures of this validation."""
        pictures, self._pictures = self._pictures, []
        if not pictures:
            return
        folder = self.folder / f"step_{trainer.global_step:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        images = [picture.permute(1, 2, 0).contiguous().numpy() for _, picture in pictures]
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:02d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/pictures", images, caption=[name for name, _ in pictures])
