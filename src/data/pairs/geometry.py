"""Resizing, mirroring and cutting of pairs: equal for both frames; label and flow follow."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from src.ops.resize import Window, resize_image, resize_nearest, resize_partial_flow
from src.structures import PairSample, Size


def resize_pair(sample: PairSample, size: Size, mirrored: bool = False) -> PairSample:
    """Resize and mirror: images bilinear with antialiasing, label nearest, flow with its vectors scaled and mirrored."""
    label, flow = sample.nonkey_label, sample.flow
    if pair_size(sample) != size:
        label = resize_nearest(label, size)
        flow = None if flow is None else resize_partial_flow(flow, size)
    if mirrored:
        label = label.flip(-1)
        flow = None if flow is None else flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(2, 1, 1)
    return map_images(sample, lambda image: _resize_and_mirror(image, size, mirrored))._replace(nonkey_label=label, flow=flow)


def _resize_and_mirror(image: Tensor, size: Size, mirrored: bool) -> Tensor:
    height, width = image.shape[-2:]
    resized = image if (height, width) == size else resize_image(image, size)
    if not mirrored:
        return resized
    pixels = resized.permute(1, 2, 0).numpy()
    # A resized copy has no other owner and is in the processor's cache: it is mirrored in place.
    return torch.from_numpy(np.asarray(cv2.flip(pixels, 1, None if resized is image else pixels))).permute(2, 0, 1)


def crop_pair(sample: PairSample, window: Window) -> PairSample:
    """Cut a window out of images, label and flow, as views."""
    flow = None if sample.flow is None else window.cut(sample.flow)
    return map_images(sample, window.cut)._replace(nonkey_label=window.cut(sample.nonkey_label), flow=flow)


def pair_size(sample: PairSample) -> Size:
    """Return (H, W) of the frames."""
    height, width = sample.nonkey_image.shape[-2:]
    return height, width


def map_images(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Apply a function to both frames; once where a frame is paired with itself."""
    nonkey_image = change(sample.nonkey_image)
    key_image = nonkey_image if sample.key_image is sample.nonkey_image else change(sample.key_image)
    return sample._replace(key_image=key_image, nonkey_image=nonkey_image)
