"""Geometry and colour of training pairs: one draw for both frames; the label and the flow follow.

Convention:
    resizing keeps pixel centres (half-pixel grid, align_corners=False) in image, label and flow alike. A flow vector may point
    out of a crop: the motion there is known although its source is not seen. Only padding and unknown pixels are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from src.data.resizing import resize_nearest, resize_partial_flow, short_side_size
from src.structures import IGNORE_INDEX, PairSample, Size


class PairStep(Protocol):
    """One step: a function of the sample and the generator alone."""

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """The transformed sample."""


class PairTransform:
    """Steps in order.

    Args:
        steps: the steps; all draw from the one generator passed in.
    """

    def __init__(self, steps: Sequence[PairStep]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Apply the steps."""
        for step in self.steps:
            sample = step(sample, rng)
        return sample


class ResizeShortSide:
    """Resize to a short side, for evaluation (VSPW: 480 with a long side of at most 853).

    Args:
        short_side: pixels.
        max_long_side: pixels; where the long side would exceed it, both are scaled down.
    """

    def __init__(self, short_side: int, max_long_side: int | None = None) -> None:
        self.short_side = short_side
        self.max_long_side = max_long_side

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Resize; nothing is drawn."""
        return resize_pair(sample, short_side_size(_size(sample), self.short_side, self.max_long_side))


class RandomShortSide:
    """Resize to a short side drawn from a list (paper, VSPW: 480..1920 in 16 steps, the long side capped at 960).

    Args:
        short_sides: pixels.
        max_long_side: pixels.
    """

    def __init__(self, short_sides: Sequence[int] = tuple(range(480, 1921, 96)), max_long_side: int | None = 960) -> None:
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a short side and resize."""
        short_side = self.short_sides[rng.integers(len(self.short_sides))]
        return resize_pair(sample, short_side_size(_size(sample), short_side, self.max_long_side))


class ScaleJitter:
    """Resize by a factor drawn uniformly.

    Args:
        low: smallest factor.
        high: largest factor.
    """

    def __init__(self, low: float = 0.5, high: float = 2.0) -> None:
        if not 0 < low <= high:
            raise ValueError(f"scale jitter {low}..{high}; expected 0 < low <= high")
        self.low = low
        self.high = high

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a factor and resize."""
        height, width = _size(sample)
        scale = rng.uniform(self.low, self.high)
        return resize_pair(sample, (max(1, round(height * scale)), max(1, round(width * scale))))


class RandomCrop:
    """Cut the same window out of both frames, anywhere in them.

    Frames smaller than the window are padded right and bottom: image 0, label ``IGNORE_INDEX``, flow NaN.

    Args:
        size: (H, W) of the window.
    """

    def __init__(self, size: Sequence[int]) -> None:
        height, width = size
        self.size: Size = (height, width)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a place and cut."""
        height, width = _size(sample)
        top = int(rng.integers(max(height - self.size[0], 0) + 1))
        left = int(rng.integers(max(width - self.size[1], 0) + 1))

        def cut(x: Tensor, fill: float) -> Tensor:
            window = x[..., top : top + self.size[0], left : left + self.size[1]]
            padding = (0, self.size[1] - window.shape[-1], 0, self.size[0] - window.shape[-2])
            return F.pad(window, padding, value=fill) if any(padding) else window.contiguous()

        return _map_images(sample, lambda image: cut(image, 0))._replace(
            nonkey_label=cut(sample.nonkey_label, IGNORE_INDEX),
            flow=None if sample.flow is None else cut(sample.flow, float("nan")),
        )


class RandomHorizontalFlip:
    """Mirror left and right; the flow's dx changes sign.

    Args:
        probability: of mirroring.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw whether to mirror."""
        if rng.random() >= self.probability:
            return sample
        flow = None if sample.flow is None else sample.flow.flip(-1) * sample.flow.new_tensor([-1.0, 1.0]).view(2, 1, 1)
        return _map_images(sample, lambda image: image.flip(-1))._replace(nonkey_label=sample.nonkey_label.flip(-1), flow=flow)


class ColourJitter:
    """The colour jitter of SSD (Liu et al., 2016): brightness, contrast, saturation and hue, each with probability one half.

    Contrast scales about 0, not about the image's mean, so that both frames change alike; it comes before or after the other two
    with equal chance. All are tables of 256 values, as the images are 8-bit: a tenth of the time of float colour conversion.

    Args:
        brightness: largest shift, of 255.
        contrast: factor 1 - x .. 1 + x.
        saturation: factor 1 - x .. 1 + x.
        hue: largest turn, in turns; 0.1 are the 18 of 180 steps of the usual 8-bit code.
    """

    def __init__(self, brightness: float = 32.0, contrast: float = 0.5, saturation: float = 0.5, hue: float = 0.1) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw the four changes and apply them."""
        # Everything is drawn whether used or not, so that one draw never shifts the meaning of the next.
        use = rng.random(5) < 0.5
        shift, contrast, saturation, hue = (
            rng.uniform(-self.brightness, self.brightness),
            rng.uniform(1 - self.contrast, 1 + self.contrast),
            rng.uniform(1 - self.saturation, 1 + self.saturation),
            rng.uniform(-self.hue, self.hue),
        )
        levels = np.arange(256)
        scaled = _levels(levels * contrast)
        before = _levels(levels + shift) if use[0] else _levels(levels)
        before = scaled[before] if use[1] and use[4] else before
        after = scaled if use[1] and not use[4] else _levels(levels)
        turned = (levels + round(180 * hue)) % 180 if use[3] else levels
        hsv = np.stack((turned, _levels(levels * saturation) if use[2] else levels, levels), axis=-1).astype(np.uint8)[None]

        def jitter(image: Tensor) -> Tensor:
            pixels = cv2.LUT(image.permute(1, 2, 0).contiguous().numpy(), before)
            if use[2] or use[3]:
                pixels = cv2.cvtColor(cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), hsv), cv2.COLOR_HSV2RGB)
            return torch.from_numpy(cv2.LUT(pixels, after)).permute(2, 0, 1).contiguous()

        return _map_images(sample, jitter) if use[:4].any() else sample


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def resize_pair(sample: PairSample, size: Size) -> PairSample:
    """Resize to (H, W): images bilinear with antialiasing, label nearest, flow with its vectors scaled."""
    if _size(sample) == size:
        return sample
    return _map_images(sample, lambda image: v2.functional.resize(image, list(size), antialias=True))._replace(
        nonkey_label=resize_nearest(sample.nonkey_label, size),
        flow=None if sample.flow is None else resize_partial_flow(sample.flow, size),
    )


def _size(sample: PairSample) -> Size:
    height, width = sample.nonkey_image.shape[-2:]
    return height, width


def _map_images(sample: PairSample, change: Callable[[Tensor], Tensor]) -> PairSample:
    """Both images changed alike; a frame paired with itself is worked on once."""
    nonkey_image = change(sample.nonkey_image)
    key_image = nonkey_image if sample.key_image is sample.nonkey_image else change(sample.key_image)
    return sample._replace(key_image=key_image, nonkey_image=nonkey_image)
