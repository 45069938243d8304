"""List of the training samples that were replaced because of damaged files, and its limit."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from src.data.samples import PairBatch
from src.files.atomic_write import write_text

_COLUMNS = ("step", "sample", "message")
_Row = tuple[int, int, str]


class SkippedSamples(Callback):
    """Callback for ``data.on_corrupt=skip`` that lists the replaced samples of all ranks and ends a run with too many.

    The list is part of the checkpoint: a resumed run writes the same list as an uninterrupted run.

    Args:
        path: CSV file with the columns step, sample, message; not written if no sample is replaced.
        max_skipped: maximum number of replaced samples; above it the run ends.
    """

    def __init__(self, path: str, max_skipped: int) -> None:
        if max_skipped < 0:
            raise ValueError(f"max_skipped={max_skipped}; expected 0 or more")
        self.path = Path(path)
        self.max_skipped = max_skipped
        self._rows: list[_Row] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Add the replaced samples of this batch."""
        if trainer.datamodule.on_corrupt == "raise":  # type: ignore[attr-defined]
            return
        step = batch_idx // trainer.accumulate_grad_batches + 1
        new = _gather_rows(trainer, [(step, number, message) for number, message in batch.skipped])
        if not new:
            return
        self._rows += sorted(new)
        if trainer.is_global_zero:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *self._rows])
            write_text(self.path, text.getvalue())
        if len(self._rows) > self.max_skipped:
            raise RuntimeError(
                f"{len(self._rows)} samples were replaced because of damaged files; expected at most data.max_skipped="
                f"{self.max_skipped}; repair the files listed in {self.path}, or exclude them by data.exclude=<list> of "
                "scripts/check_data.py"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the list of replaced samples."""
        return {"rows": [list(row) for row in self._rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the list of replaced samples."""
        self._rows = [(int(step), int(sample), str(message)) for step, sample, message in state_dict["rows"]]


def _gather_rows(trainer: Trainer, rows: list[_Row]) -> list[_Row]:
    if trainer.world_size == 1:
        return rows
    found = torch.tensor(float(len(rows)), device=trainer.strategy.root_device)
    if not trainer.strategy.reduce(found, reduce_op="sum"):
        return []
    lists: list[list[_Row]] = [[] for _ in range(trainer.world_size)]
    torch.distributed.all_gather_object(lists, rows)
    return [row for one in lists for row in one]
