"""Resizing, mirroring and cutting of pairs, triplets and clips: equal for all frames; labels and flows follow."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.samples import PairSample
from src.ops.resize import Window, resize_image, resize_nearest, resize_partial_flow
from src.structures import IGNORE_INDEX, Size


def resize_pair(sample: PairSample, size: Size, mirrored: bool = False) -> PairSample:
    """Resize and mirror: images bilinear with antialiasing, label nearest, flow with its vectors scaled and mirrored."""
    resizes = pair_size(sample) != size

    def changed_label(label: Tensor) -> Tensor:
        label = resize_nearest(label, size) if resizes else label
        return label.flip(-1) if mirrored else label

    def changed_flow(flow: Tensor) -> Tensor:
        flow = resize_partial_flow(flow, size) if resizes else flow
        return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(2, 1, 1) if mirrored else flow

    sample = map_labels(map_flows(sample, changed_flow), changed_label)
    return map_images(sample, lambda image: _resize_and_mirror(image, size, mirrored))


def _resize_and_mirror(image: Tensor, size: Size, mirrored: bool) -> Tensor:
    height, width = image.shape[-2:]
    resized = image if (height, width) == size else resize_image(image, size)
    if not mirrored:
        return resized
    pixels = resized.permute(1, 2, 0).numpy()
    # A resized copy has no other owner and is in the processor's cache: it is mirrored in place.
    return torch.from_numpy(np.asarray(cv2.flip(pixels, 1, None if resized is image else pixels))).permute(2, 0, 1)


def crop_pair(sample: PairSample, window: Window) -> PairSample:
    """Cut a window out of images, labels and flow, as views."""
    return map_images(map_labels(map_flows(sample, window.cut), window.cut), window.cut)


def pad_pair(sample: PairSample, size: Size, color: tuple[int, int, int] = (0, 0, 0)) -> PairSample:
    """Pad right and bottom to at least ``size``: images with an RGB color 0..255, labels ``IGNORE_INDEX``, flow NaN."""
    height, width = pair_size(sample)
    padding = (0, max(size[1] - width, 0), 0, max(size[0] - height, 0))
    if not any(padding):
        return sample

    def padded(x: Tensor, fill: float) -> Tensor:
        return F.pad(x, padding, value=fill)

    def padded_image(image: Tensor) -> Tensor:
        return padded(image, 0) if not any(color) else torch.stack([padded(x, c) for x, c in zip(image, color, strict=True)])

    sample = map_flows(sample, lambda flow: padded(flow, float("nan")))
    return map_images(map_labels(sample, lambda label: padded(label, IGNORE_INDEX)), padded_image)


def pair_size(sample: PairSample) -> Size:
    """Return (H, W) of the frames."""
    height, width = sample.nonkey_image.shape[-2:]
    return height, width


def map_images(sample: PairSample, change: Callable[[Tensor], Tensor], each: bool = False) -> PairSample:
    """Apply a function to every frame; once where a frame is paired with itself, unless ``each`` is set."""
    nonkey_image = change(sample.nonkey_image)

    def changed(image: Tensor) -> Tensor:
        return nonkey_image if image is sample.nonkey_image and not each else change(image)

    return sample._replace(
        key_image=changed(sample.key_image),
        nonkey_image=nonkey_image,
        after_image=None if sample.after_image is None else changed(sample.after_image),
        between_images=tuple(changed(image) for image in sample.between_images),
    )


def map_labels(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Apply a function to the label of every labelled frame."""
    reference_labels = tuple(change(label) for label in sample.reference_labels)
    return sample._replace(nonkey_label=change(sample.nonkey_label), reference_labels=reference_labels)


def map_flows(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Apply a function to the flow to every key frame, where known."""
    flow, after_flow = (None if flow is None else change(flow) for flow in (sample.flow, sample.after_flow))
    return sample._replace(flow=flow, after_flow=after_flow)
