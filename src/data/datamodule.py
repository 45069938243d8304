"""Lightning data module with exactly resumable loaders of training and validation pairs, divided over ranks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import lightning as L
import torch
from torch.utils.data import DataLoader, Sampler

from src.data.clips import ClipDataset
from src.data.pairs.dataset import Motion, NumberedSample, OnCorrupt, PairDataset, Transform, collate_pairs, finalize_batch
from src.data.pairs.mixture import MixedPairs, PairSource
from src.data.pairs.sampling import PairSampling
from src.data.pairs.transforms import PairStep
from src.data.samples import PairBatch
from src.data.worker import start_worker

# Runs with different training seeds are scored on the same validation pairs.
_VALIDATION_SEED = 0


@dataclass(eq=False, repr=False)
class ResumableBatches(Sampler[list[int]]):
    """Batches of consecutive sample numbers for one rank, from the current training step.

    Batch ``b`` of rank ``r`` holds ``batch_size`` numbers from ``(b * world + r) * batch_size`` on: in each optimizer step, the
    ranks together read the same samples as a single process with the whole batch.

    Args:
        num_batches: number of batches of the whole run, for each rank.
        batch_size: samples per batch and rank.
        rank, world: of this process, and number of processes.
        batches_done: returns the number of batches to skip; called at the start of each iteration.
    """

    num_batches: int
    batch_size: int
    rank: int
    world: int
    batches_done: Callable[[], int]

    def __len__(self) -> int:
        """Number of batches of the whole run, including those before a restart, as expected by Lightning."""
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.batches_done(), self.num_batches):
            first = (batch * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))


class PairDataModule(L.LightningDataModule):
    """Training pairs up to ``max_steps`` and a fixed set of validation pairs.

    The samplers divide pairs over ranks: give the trainer ``use_distributed_sampler=False``.

    Args:
        train, val: training and validation clips, of the same classes.
        train_sampling, val_sampling: choice of their pairs.
        train_transform: transform of training pairs to one common size.
        eval_transform: transform of validation pairs, at batch size 1; ``None`` keeps the size of the files.
        batch_size: samples per batch and device.
        num_workers: loader processes per device and loader; 0 reads in the training process.
        max_steps: number of optimizer steps of the whole run.
        val_samples: number of validation pairs over all devices.
        seed: of the training pairs; validation pairs do not depend on it.
        train_motion, val_motion: synthetic motion that generates pairs from stills.
        samples_per_pair: number of training samples per pair.
        extra_train: further sources of training samples by name.
        on_corrupt: treatment of training pairs with a damaged file; in validation, a damaged file is always an error.

    Raises:
        ValueError: if the classes of the two datasets differ or a count is not positive.
    """

    def __init__(
        self,
        train: ClipDataset,
        val: ClipDataset,
        train_sampling: PairSampling,
        val_sampling: PairSampling,
        train_transform: PairStep | None,
        eval_transform: Transform | None,
        batch_size: int,
        num_workers: int,
        max_steps: int,
        val_samples: int,
        seed: int,
        train_motion: Motion | None = None,
        val_motion: Motion | None = None,
        samples_per_pair: int = 1,
        extra_train: Mapping[str, PairSource] | None = None,
        on_corrupt: OnCorrupt = "raise",
    ) -> None:
        super().__init__()
        if train.classes != val.classes:
            raise ValueError(
                f"train has {train.num_classes} classes, val {val.num_classes}, or their names differ; expected the same"
            )
        if min(batch_size, max_steps) < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size={batch_size}, max_steps={max_steps}, num_workers={num_workers}; expected positive counts"
            )
        self.train = train
        self.val = val
        self.train_transform = train_transform
        self.train_pairs = partial(
            PairDataset, train, train_sampling, train_transform, train_motion,
            seed=seed, samples_per_pair=samples_per_pair, on_corrupt=on_corrupt,
        )  # fmt: skip
        self.extra_train = list((extra_train or {}).values())
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.max_steps = max_steps
        self.seed = seed
        self.on_corrupt = on_corrupt
        self.val_pairs = PairDataset(
            val, val_sampling.for_validation(), eval_transform, val_motion, num_samples=val_samples, seed=_VALIDATION_SEED
        )

    def train_dataloader(self) -> DataLoader[NumberedSample]:
        """Return the loader of the remaining training samples; a resumed run gets those of the uninterrupted run."""
        trainer = self._trainer()
        accumulate = trainer.accumulate_grad_batches
        batches = ResumableBatches(
            self.max_steps * accumulate,
            self.batch_size,
            trainer.global_rank,
            trainer.world_size,
            batches_done=lambda: trainer.global_step * accumulate,
        )
        pairs = self.train_pairs(num_samples=len(batches) * self.batch_size * trainer.world_size)
        return self._loader(MixedPairs(pairs, self.extra_train) if self.extra_train else pairs, batches)

    def val_dataloader(self) -> DataLoader[NumberedSample]:
        """Return the loader of this rank's validation pairs, at batch size 1, as frames may differ in size."""
        trainer = self._trainer()
        if len(self.val_pairs) < trainer.world_size:
            # Lightning skips validation on a rank without pairs, and the other ranks would wait for it.
            raise ValueError(
                f"data.val_samples={len(self.val_pairs)} for {trainer.world_size} processes; expected at least one pair for each"
            )
        # A list of lists is a valid batch sampler.
        numbers = [[n] for n in range(trainer.global_rank, len(self.val_pairs), trainer.world_size)]
        return self._loader(self.val_pairs, numbers)

    def on_after_batch_transfer(self, batch: PairBatch, dataloader_idx: int) -> PairBatch:
        """Convert the batch, and apply the transform's steps for the device in training."""
        batch = finalize_batch(batch)
        if self._trainer().training and self.train_transform is not None:
            batch = self.train_transform.apply_to_batch(batch, self.seed)
        return batch

    def _loader(
        self, pairs: PairDataset | MixedPairs, batches: Sampler[list[int]] | list[list[int]]
    ) -> DataLoader[NumberedSample]:
        return DataLoader(
            pairs,
            batch_sampler=batches,
            num_workers=self.num_workers,
            collate_fn=collate_pairs,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
            persistent_workers=self.num_workers > 0,
        )

    def _trainer(self) -> L.Trainer:
        if self.trainer is None:
            raise RuntimeError("PairDataModule has no trainer: its loaders depend on step and rank, so pass it to Trainer.fit")
        return self.trainer
