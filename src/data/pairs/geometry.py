"""Resizing, mirroring and cutting of pairs and triplets: equal for all frames; label and flows follow."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from src.data.samples import PairSample
from src.ops.resize import Window, resize_image, resize_nearest, resize_partial_flow
from src.structures import Size


def resize_pair(sample: PairSample, size: Size, mirrored: bool = False) -> PairSample:
    """Resize and mirror: images bilinear with antialiasing, label nearest, flow with its vectors scaled and mirrored."""
    label, resizes = sample.nonkey_label, pair_size(sample) != size
    label = resize_nearest(label, size) if resizes else label

    def changed_flow(flow: Tensor) -> Tensor:
        flow = resize_partial_flow(flow, size) if resizes else flow
        return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(2, 1, 1) if mirrored else flow

    sample = sample._replace(nonkey_label=label.flip(-1) if mirrored else label)
    return map_images(map_flows(sample, changed_flow), lambda image: _resize_and_mirror(image, size, mirrored))


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
    return map_images(map_flows(sample, window.cut), window.cut)._replace(nonkey_label=window.cut(sample.nonkey_label))


def pair_size(sample: PairSample) -> Size:
    """Return (H, W) of the frames."""
    height, width = sample.nonkey_image.shape[-2:]
    return height, width


def map_images(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Apply a function to every frame; once where a frame is paired with itself."""
    nonkey_image = change(sample.nonkey_image)

    def changed(image: Tensor) -> Tensor:
        return nonkey_image if image is sample.nonkey_image else change(image)

    after_image = None if sample.after_image is None else changed(sample.after_image)
    return sample._replace(key_image=changed(sample.key_image), nonkey_image=nonkey_image, after_image=after_image)


def map_flows(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Apply a function to the flow to every key frame, where known."""
    flow, after_flow = (None if flow is None else change(flow) for flow in (sample.flow, sample.after_flow))
    return sample._replace(flow=flow, after_flow=after_flow)
