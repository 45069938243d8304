"""Training of a clip segmentor: a target frame and its references in each sample."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.data.samples import PairBatch
from src.inference.clip_stream import ClipStream, label_map
from src.losses.clip_segmentation import ClipSegmentationLoss
from src.models.clip_segmentors.base import ClipSegmentor
from src.training.optim import AdamWPoly
from src.training.segmentation_module import SegmentationModule
from src.training.stages import Terms
from src.training.strategies import FullyShardedStrategy
from src.weights.clip_folder import AnyClipSegmentor, clip_config, load_clip_model, save_clip_model

log = logging.getLogger(__name__)


class ClipStage(nn.Module):
    """Trainable parts and loss of a clip segmentor.

    Args:
        loss: loss of the predictions of a clip.
        trainable: names of the trainable parts.
    """

    def __init__(self, loss: ClipSegmentationLoss, trainable: Sequence[str] = ("backbone", "head")) -> None:
        super().__init__()
        self.loss = loss
        self.trainable = tuple(trainable)

    def losses(self, model: AnyClipSegmentor, batch: PairBatch) -> Terms:
        """Compute the loss terms of a batch of clips."""
        outputs = model(clip_frames(batch, len(model.reference_offsets) + 1))
        labels = torch.cat((_reference_labels(batch), batch.nonkey_label[:, None]), 1)
        terms: Terms = self.loss(outputs.frame_logits, outputs.clip_logits, labels)
        return terms


class ClipModule(SegmentationModule):
    """Trains a :class:`src.models.clip_segmentors.base.ClipSegmentor`, and scores its labels of the validation clips' targets.

    Args:
        segmentor: the network.
        stage: trainable parts and loss.
        optim, num_classes, metadata, seed: see :class:`SegmentationModule`.
    """

    def __init__(
        self,
        segmentor: AnyClipSegmentor,
        stage: ClipStage,
        optim: AdamWPoly,
        num_classes: int,
        metadata: dict[str, Any],
        seed: int = 0,
    ) -> None:
        super().__init__(optim, num_classes, metadata, seed)
        self.segmentor = segmentor
        self.stage = stage
        # A loaded network is in eval mode, and Lightning keeps modes.
        segmentor.train()
        segmentor.set_trainable(stage.trainable)

    @property
    def network(self) -> AnyClipSegmentor:
        """Return the clip segmentor."""
        return self.segmentor

    def configure_model(self) -> None:
        """Raise ``ValueError`` under FSDP, which needs a propagator."""
        if isinstance(self.trainer.strategy, FullyShardedStrategy):
            raise ValueError("trainer is fsdp; expected ddp for stage=clips, whose networks fit on one device")

    def model_config(self) -> dict[str, Any]:
        """Return the configuration for :func:`src.weights.clip_folder.load_clip_model`."""
        return clip_config(self.segmentor, self.metadata)

    def save(self, network: AnyClipSegmentor, folder: Path) -> None:
        """Write the model folder of the network."""
        save_clip_model(network, folder, self.metadata)

    def random_keys(self, batch: PairBatch) -> Tensor:
        """Return one number for each frame of each clip: the encoder runs on all of them."""
        length = len(self.segmentor.reference_offsets) + 1
        return (batch.sample_id[:, None] * length + torch.arange(length, device=batch.sample_id.device)).flatten()

    def losses(self, batch: PairBatch) -> Terms:
        """Compute the loss terms of a batch of clips."""
        return self.stage.losses(self.segmentor, batch)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Tensor]:
        """Score the target's labels (B, H, W), and return them as ``labels`` for the picture callback."""
        frames = clip_frames(batch, len(self.segmentor.reference_offsets) + 1)
        # Resizes as in a stream.
        images = ClipStream(self.segmentor).resize(frames.flatten(0, 1))
        logits = self.segmentor(images.reshape(len(frames), -1, *images.shape[1:])).clip_logits[:, -1]
        size = (batch.nonkey_label.shape[-2], batch.nonkey_label.shape[-1])
        labels = label_map(logits, (images.shape[-2], images.shape[-1]), size)
        self.val_iou.update(labels, batch.nonkey_label)
        return {"labels": labels}


def build_clip_segmentor(segmentor: object, init_from: str | None, num_classes: int) -> AnyClipSegmentor:
    """Build the network that stage=clips starts from: a fresh one, or that of ``init_from`` where it is ``None``.

    Raises:
        ValueError: if both or none is given, or the network is none for clips or has other classes than the data.
    """
    if (segmentor is None) == (init_from is None):
        raise ValueError(
            f"stage.init_from is {init_from or 'null'} with stage.segmentor={'null' if segmentor is None else 'fresh'}; "
            "expected one of them: stage.segmentor=null with stage.init_from=<model folder>, or stage.init_from=null"
        )
    if init_from is not None:
        segmentor, _ = load_clip_model(init_from)
        log.info("segmentor taken from %s", init_from)
    if not isinstance(segmentor, ClipSegmentor):
        raise ValueError(
            f"stage.segmentor is a {type(segmentor).__name__}; expected a clip segmentor; choose model/clip_segmentor=mrcfa_b1"
        )
    if segmentor.num_classes != num_classes:
        raise ValueError(f"the clip segmentor has {segmentor.num_classes} classes; expected the data's {num_classes}")
    return segmentor


def clip_frames(batch: PairBatch, length: int) -> Tensor:
    """Return clips (B, T, 3, H, W), references first and the target last.

    Raises:
        ValueError: if the batch has pairs, or clips of another length than ``length``.
    """
    between = [] if batch.between_images is None else [batch.between_images]
    found = 2 + sum(images.shape[1] for images in between)
    if found != length:
        raise ValueError(
            f"{batch.names[0]} has {found} frames; expected clips of {length}; choose such a sampling of frames, "
            "stage.sampling=${data.clip_sampling}"
        )
    return torch.cat((batch.key_image[:, None], *between, batch.nonkey_image[:, None]), 1)


def _reference_labels(batch: PairBatch) -> Tensor:
    assert batch.reference_labels is not None, "clips have labels of their references"
    return batch.reference_labels
