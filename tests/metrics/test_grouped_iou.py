import math

import torch

from src.metrics.grouped_iou import GroupedIoU
from src.metrics.iou import MeanIoU
from src.structures import IGNORE_INDEX


def maps(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction, label = torch.randint(0, 3, (2, 6, 8), generator=generator)
    region = torch.rand(6, 8, generator=generator) < 0.4
    label[torch.rand(6, 8, generator=generator) < 0.2] = IGNORE_INDEX
    return prediction, label, region


def test_a_group_has_the_iou_of_its_pixels() -> None:
    groups, iou = GroupedIoU(3), MeanIoU(3)
    for seed in range(4):
        prediction, label, region = maps(seed)
        groups.add("offset", seed % 2, prediction, label)
        groups.add("border", 3, prediction, label, region)
        iou.update(prediction, label.where(region, IGNORE_INDEX))
    assert groups.miou("border") == {3: iou.compute()["miou"]} and groups.frame_counts("offset") == {0: 2, 1: 2}
    even = MeanIoU(3)
    for seed in (0, 2):
        even.update(*maps(seed)[:2])
    assert groups.miou("offset")[0] == even.compute()["miou"] and groups.miou("unknown") == {}


def test_parts_have_the_sums_of_one_bit_for_bit() -> None:
    whole, parts = GroupedIoU(3), [GroupedIoU(3) for _ in range(3)]
    for seed in range(7):
        prediction, label, region = maps(seed)
        for groups in (whole, parts[seed % 2]):
            groups.add("border", 3, prediction, label, region)
            groups.add("offset", seed % 5, prediction, label)
    parts[2].sum_up(parts)
    for kind in ("border", "offset"):
        assert parts[2].miou(kind) == whole.miou(kind) and parts[2].frame_counts(kind) == whole.frame_counts(kind)


def test_a_single_class_counts_its_background_in_the_region() -> None:
    groups, region = GroupedIoU(1), torch.tensor([[True, True, False]])
    groups.add("border", 3, torch.tensor([[0, 0, 0]]), torch.tensor([[0, IGNORE_INDEX, IGNORE_INDEX]]), region)
    assert groups.miou("border") == {3: 0.5}
    groups = GroupedIoU(2)
    groups.add("border", 3, torch.tensor([[0]]), torch.tensor([[1]]), torch.tensor([[False]]))
    assert math.isnan(groups.miou("border")[3])
