"""A small batch of pairs of a moving texture."""

from __future__ import annotations

from typing import Any

import torch

from src.data.pairs.dataset import PairDataset, collate_pairs, finalize_batch
from src.data.pairs.sampling import FixedOffsetSampling, PairSampling
from src.data.samples import PairBatch
from tests.inference.tiny import FakeClips


def tiny_batch(sampling: PairSampling | None = None, size: int = 2, **changes: Any) -> PairBatch:
    """Pairs of the moving texture, three frames apart by default."""
    pairs = PairDataset(FakeClips(), sampling or FixedOffsetSampling(-3), num_samples=size, seed=0)
    return finalize_batch(collate_pairs([pairs[number] for number in range(size)]))._replace(**changes)


def grey(batch: PairBatch) -> PairBatch:
    """The same pairs with blank key images."""
    return batch._replace(key_image=torch.full_like(batch.key_image, 128))
