"""Resizing, mirroring and cutting a pair: the same for both frames; label and flow follow."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from src.data.pairs.dataset import map_images
from src.ops.resize import Window, resize_image, resize_nearest, resize_partial_flow
from src.structures import PairSample, Size


def redraw_pair(sample: PairSample, size: Size, mirrored: bool = False) -> PairSample:
    """Resize and mirror: images bilinear with antialiasing, label nearest, flow with its vectors scaled and turned.

    Args:
        sample: the pair.
        size: (H, W) of the result.
        mirrored: left and right are exchanged.
    """
    label, flow = sample.nonkey_label, sample.flow
    if pair_size(sample) != size:
        label = resize_nearest(label, size)
        flow = None if flow is None else resize_partial_flow(flow, size)
    if mirrored:
        label = label.flip(-1)
        flow = None if flow is None else flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(2, 1, 1)
    return map_images(sample, lambda image: _redraw_image(image, size, mirrored))._replace(nonkey_label=label, flow=flow)


def _redraw_image(image: Tensor, size: Size, mirrored: bool) -> Tensor:
    height, width = image.shape[-2:]
    resized = image if (height, width) == size else resize_image(image, size)
    if not mirrored:
        return resized
    pixels = resized.permute(1, 2, 0).numpy()
    # What has just been resized is nobody else's and in the processor's cache: it is mirrored where it is.
    return torch.from_numpy(np.asarray(cv2.flip(pixels, 1, None if resized is image else pixels))).permute(2, 0, 1)


def cut_pair(sample: PairSample, window: Window) -> PairSample:
    """The part of images, label and flow that a window shows, as views."""
    flow = None if sample.flow is None else window.cut(sample.flow)
    return map_images(sample, window.cut)._replace(nonkey_label=window.cut(sample.nonkey_label), flow=flow)


def pair_size(sample: PairSample) -> Size:
    """(H, W) of the frames."""
    height, width = sample.nonkey_image.shape[-2:]
    return height, width
