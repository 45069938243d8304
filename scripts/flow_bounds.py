"""Upper bounds of flows on a grid: the true flow of synthetic pairs, averaged to the grid, warps labels and masks.

python scripts/flow_bounds.py data.motion.camera.max_offset=1 data.motion.objects.max_pasted=0      overrides of conf/eval.yaml
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

# The package is not installed: it is in the folder above this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.clips import ClipDataset
from src.data.synthetic.still_pairs import KEY, NONKEY
from src.metrics.iou import MeanIoU
from src.models.flow import DISFlow
from src.ops.warp import resize_flow, warp, warp_label
from src.structures import IGNORE_INDEX

_GRID = 4  # image pixels to a cell of the masks


def on_grid(flow: Tensor, where: Tensor, stride: int) -> Tensor:
    """Average a flow (2, H, W) over the pixels of ``where`` (H, W) in each cell; empty cells take the nearest cell's value.

    Returns:
        (2, H / stride, W / stride), pixels of the coarser grid.
    """
    share = F.avg_pool2d(where[None].float(), stride)[0]
    mean = F.avg_pool2d(torch.where(where, flow, 0.0), stride) / share.clamp(min=1e-6) / stride
    empty = (share == 0).numpy()
    _, numbers = cv2.distanceTransformWithLabels(empty.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    place_of = np.zeros(numbers.max() + 1, np.int64)
    place_of[numbers[~empty]] = np.flatnonzero(~empty)
    return mean.flatten(1)[:, torch.from_numpy(place_of[numbers].ravel())].view_as(mean)


def warped_labels(flow: Tensor, where: Tensor, dis: Tensor, key: Tensor, classes: int) -> Iterator[tuple[str, Tensor]]:
    """Yield (row, label map of the non-key frame) for flows of each grid, upsampled bilinearly."""
    size = (flow.shape[-2], flow.shape[-1])
    rows = {f"labels, true flow at 1/{stride}": on_grid(flow, where, stride) for stride in (1, 2, 4)}
    rows["labels, DIS medium"] = dis
    rows["labels, DIS medium at 1/4"] = on_grid(dis, torch.ones_like(where), _GRID)
    for name, coarse in rows.items():
        yield name, warp_label(key[None], resize_flow(coarse, size)[None], classes)[0]


def warped_masks(flow: Tensor, where: Tensor, key: Tensor, nonkey: Tensor, classes: int) -> Iterator[tuple[str, Tensor]]:
    """Yield (row, label map of the non-key frame) for masks of the classes on their grid."""
    size = (flow.shape[-2], flow.shape[-1])
    own_masks = torch.stack([key == number for number in range(classes)]).float()
    masks = F.avg_pool2d(own_masks, _GRID)
    mean = on_grid(flow, where, _GRID)
    own = torch.stack([mean] * classes)
    for number in range(classes):
        here = where & (nonkey == number)
        if here.any():
            inside = F.avg_pool2d(here[None].float(), _GRID) > 0
            own[number] = torch.where(inside, on_grid(flow, here, _GRID), mean)
    for name, flows in (("one flow", mean.expand(classes, -1, -1, -1)), ("a flow per class", own)):
        warped = F.interpolate(warp(masks[:, None], flows), size=size, mode="bilinear", align_corners=False)
        yield f"masks at 1/4, {name}", warped[:, 0].argmax(0)
    enlarged = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)
    yield "masks at 1/4, warped at every pixel", warp(enlarged, on_grid(flow, where, 1)[None])[0].argmax(0)


def bounds(data: ClipDataset) -> dict[str, float]:
    """Compute the mIoU of every row over the pixels visible in both frames."""
    scores: dict[str, MeanIoU] = {}
    estimator = DISFlow(stride=1, size_divisor=1)
    for clip in range(len(data.clips)):
        flow = data.read_flow(clip, NONKEY, KEY)
        assert flow is not None
        key, nonkey = data.read_label(clip, KEY), data.read_label(clip, NONKEY)
        images = (data.read_image(clip, frame)[None] for frame in (KEY, NONKEY))
        dis = estimator(*images, torch.empty(1, 0, 0)).segment_flow[0, 0]
        where = flow.isfinite().all(0)
        for rows in (
            warped_labels(flow, where, dis, key, data.num_classes),
            warped_masks(flow, where, key, nonkey, data.num_classes),
        ):
            for name, found in rows:
                label = nonkey.masked_fill(~where | (found == IGNORE_INDEX), IGNORE_INDEX)
                scores.setdefault(name, MeanIoU(data.num_classes)).update(found.masked_fill(found == IGNORE_INDEX, 0), label)
    return {name: score.compute()["miou"].item() for name, score in scores.items()}


def main() -> None:
    """Print the rows as Markdown."""
    with initialize_config_dir(str(Path(__file__).resolve().parents[1] / "conf"), version_base="1.3"):
        cfg = compose("eval", overrides=["data=camvid_still_pairs", *sys.argv[1:]])
    print("| warped | mIoU |\n|---|---|")
    for name, miou in bounds(instantiate(cfg.data.test)).items():
        print(f"| {name} | {100 * miou:.1f} |")


if __name__ == "__main__":
    main()
