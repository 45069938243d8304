"""Clips spread over processes give the numbers of one process, bit for bit, however uneven the shares."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from src.metrics.iou import MeanIoU
from src.metrics.temporal_consistency import TemporalConsistency
from src.metrics.video_consistency import VideoConsistency
from src.structures import IGNORE_INDEX

WORLD = 2
LENGTHS = (9, 6, 14, 7, 5)


def clip(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    label = torch.randint(0, 4, (1, 7, 9), generator=generator).repeat(LENGTHS[number], 1, 1)
    flicker = torch.rand(2, *label.shape, generator=generator) < 0.05
    return torch.where(flicker[0], 3, label), torch.where(flicker[1], IGNORE_INDEX, label)


def figures(clips: list[int]) -> dict[str, Tensor]:
    metrics: dict[str, Metric] = {
        "iou": MeanIoU(4),
        "reference": MeanIoU(4, protocol="reference"),
        "official": VideoConsistency(3),
        "strict": VideoConsistency(3, protocol="strict"),
        "temporal": TemporalConsistency(),
    }
    still = torch.zeros(2, 7, 9)
    for number in clips:
        prediction, label = clip(number)
        for name in ("iou", "reference", "official", "strict"):
            metrics[name].update(prediction, label)
        for frame in range(1, len(label)):
            metrics["temporal"].update(prediction[frame - 1], prediction[frame], still, still)
    return MetricCollection(metrics, compute_groups=False).compute()


def process(rank: int, folder: str, shares: list[list[list[int]]]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    try:
        torch.save([figures(share[rank]) for share in shares], Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_processes_agree_with_one_process(tmp_path: Path) -> None:
    alone = figures(list(range(len(LENGTHS))))
    assert not any(value.isnan().any() for value in alone.values())
    # Three and two clips; in another order; all on one side, the other has nothing to say.
    shares = [[[0, 2, 4], [1, 3]], [[3, 0], [4, 2, 1]], [[0, 1, 2, 3, 4], []]]
    mp.spawn(process, (str(tmp_path), shares), nprocs=WORLD)
    for rank in range(WORLD):
        for share, found in zip(shares, torch.load(tmp_path / f"{rank}.pt", weights_only=True), strict=True):
            assert found.keys() == alone.keys()
            for name, value in alone.items():
                assert torch.equal(found[name], value), f"{name} of rank {rank} with clips {share}: {found[name]}, not {value}"


def test_a_clip_added_twice_changes_the_scores() -> None:
    """A sampler that pads its shares does this: the law above can fail."""
    alone, padded = figures([0, 1, 2]), figures([0, 1, 2, 0])
    assert all(not torch.equal(alone[name], padded[name]) for name in ("iou_miou", "official", "strict", "temporal"))
