import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.data.datamodule import PairDataModule
from src.data.pairs.sampling import UniformSampling
from src.files.images.readers import CorruptFileError
from src.training import skipped_samples
from src.training.skipped_samples import SkippedSamples
from tests.inference.tiny import FakeClips
from tests.training.checkpointing.test_preemption import Square
from tests.training.tiny_fit import tiny_module, tiny_trainer

pytestmark = pytest.mark.filterwarnings("ignore")


class DamagedClips(FakeClips):
    """Frames of which some cannot be read."""

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        if frame == 2:
            raise CorruptFileError(f"{clip}/{frame}.png cannot be decoded")
        return super().read_image(clip, frame, interleaved)


def data(on_corrupt: Any, num_workers: int = 0) -> PairDataModule:
    return PairDataModule(
        DamagedClips(), FakeClips(), UniformSampling(3), UniformSampling(3), None, None, batch_size=2, num_workers=num_workers,
        max_steps=8, val_samples=1, seed=0, on_corrupt=on_corrupt,
    )  # fmt: skip


def fit(folder: Path, module_data: PairDataModule, limit: int = 100, checkpoint: Path | None = None) -> list[list[str]]:
    trainer = tiny_trainer(folder, 8, 3, SkippedSamples(str(folder / "skipped.csv"), limit), val_check_interval=100)
    trainer.fit(tiny_module(Square()), module_data, ckpt_path=checkpoint, weights_only=True)
    return list(csv.reader((folder / "skipped.csv").open()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    fit(folder, data("skip"))
    return folder


def test_replaced_samples_are_listed_by_step_and_number(whole: Path) -> None:
    header, *rows = list(csv.reader((whole / "skipped.csv").open()))
    assert header == ["step", "sample", "message"] and len(rows) > 3
    assert all(
        int(step) == int(sample) // 2 + 1 and message.endswith("2.png cannot be decoded") for step, sample, message in rows
    )
    assert len({step for step, *_ in rows if int(step) <= 3}) and any(int(step) > 6 for step, *_ in rows)


def test_resumed_run_ends_with_the_list_of_an_uninterrupted_run(whole: Path, tmp_path: Path) -> None:
    checkpoint = whole / "step_0000006.ckpt"
    assert fit(tmp_path, data("skip"), checkpoint=checkpoint) == list(csv.reader((whole / "skipped.csv").open()))


def test_too_many_replaced_samples_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"[23] samples were replaced .* data.max_skipped=1; repair the files listed in .*skipped.csv"
    ):
        fit(tmp_path, data("skip"), limit=1)
    with pytest.raises(ValueError, match="max_skipped=-1"):
        SkippedSamples("a.csv", -1)


def test_by_default_the_first_damaged_file_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"2\.png cannot be decoded"):
        fit(tmp_path, data("raise"))


def test_rows_of_all_ranks_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others = [(1, 0, "a")], [(1, 3, "b")]

    class Strategy:
        root_device = torch.device("cpu")

        def reduce(self, value: Tensor, reduce_op: str) -> Tensor:
            return value + 1

    def gather(lists: list[Any], rows: Any) -> None:
        lists[:] = [rows, others]

    monkeypatch.setattr(skipped_samples.torch.distributed, "all_gather_object", gather)
    trainer: Any = type("Trainer", (), {"world_size": 2, "strategy": Strategy()})()
    assert skipped_samples._gather_rows(trainer, mine) == mine + others
