"""A clip segmentor and clips that are small enough for a training of seconds."""

from __future__ import annotations

import torch

from src.data.datamodule import PairDataModule
from src.data.pairs.sampling import ClipSampling
from src.losses.clip_segmentation import ClipSegmentationLoss
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.training.clips import ClipModule, ClipStage
from src.training.optim import ClipAdamW
from tests.inference.tiny import CLASSES, FakeClips


def tiny_clip_segmentor(seed: int = 0) -> MrcfaSegmentor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MrcfaSegmentor(len(CLASSES), (8, 16, 40, 64), (1, 1, 1, 1), embed_dim=16)


def tiny_clip_module() -> ClipModule:
    stage, optim = ClipStage(ClipSegmentationLoss()), ClipAdamW(lr=1e-2)
    return ClipModule(tiny_clip_segmentor(), stage, optim, len(CLASSES), {"classes": list(CLASSES)})


def tiny_clips(max_steps: int) -> PairDataModule:
    data = FakeClips((11, 10), (64, 96))
    return PairDataModule(
        data, data, ClipSampling(), ClipSampling(), None, None, batch_size=2, num_workers=0,
        max_steps=max_steps, val_samples=2, seed=0,
    )  # fmt: skip
