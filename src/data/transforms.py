"""Geometry and colour of training pairs: one draw for both frames; the label and the flow follow.

Convention:
    resizing keeps pixel centres (half-pixel grid, align_corners=False) in image, label and flow alike. A flow vector may point
    out of a crop: the motion there is known although its source is not seen. Only padding and unknown pixels are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.data.colour import ColourJitter
from src.data.pairs import map_images
from src.data.resizing import Window, resize_image, resize_nearest, resize_partial_flow, short_side_size
from src.structures import IGNORE_INDEX, PairSample, Size


class PairStep(Protocol):
    """One step: a function of the sample and the generator alone."""

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """The transformed sample."""


@runtime_checkable
class ResizeStep(PairStep, Protocol):
    """A step that does nothing but resize."""

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """(H, W) of the result for frames of ``size``."""


class PairTransform:
    """Steps in order.

    Args:
        steps: the steps; all draw from the one generator passed in.

    Attributes:
        steps: the same, but a resize and the crop after it are one :class:`ResizedCrop`.
    """

    def __init__(self, steps: Sequence[PairStep]) -> None:
        joined: list[PairStep] = []
        for step in steps:
            before = joined[-1] if joined else None
            if isinstance(step, RandomCrop) and isinstance(before, ResizeStep):
                joined[-1] = ResizedCrop(before, step)
            else:
                joined.append(step)
        self.steps = tuple(joined)

    @property
    def device_steps(self) -> tuple[ColourJitter, ...]:
        """What is left to do on the device, once the samples are a batch there."""
        return tuple(step for step in self.steps if isinstance(step, ColourJitter) and step.where == "device")

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

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """(H, W); nothing is drawn."""
        return short_side_size(size, self.short_side, self.max_long_side)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Resize."""
        return resize_pair(sample, self.draw_size(_size(sample), rng))


class RandomShortSide:
    """Resize to a short side drawn from a list (paper, VSPW: 480..1920 in 16 steps, the long side capped at 960).

    Args:
        short_sides: pixels.
        max_long_side: pixels.
    """

    def __init__(self, short_sides: Sequence[int] = tuple(range(480, 1921, 96)), max_long_side: int | None = 960) -> None:
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """(H, W) for a short side drawn."""
        return short_side_size(size, self.short_sides[rng.integers(len(self.short_sides))], self.max_long_side)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a short side and resize."""
        return resize_pair(sample, self.draw_size(_size(sample), rng))


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

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """(H, W) for a factor drawn."""
        scale = rng.uniform(self.low, self.high)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a factor and resize."""
        return resize_pair(sample, self.draw_size(_size(sample), rng))


class RandomCrop:
    """Cut the same window out of both frames, anywhere in them.

    Frames smaller than the window are padded right and bottom: image 0, label ``IGNORE_INDEX``, flow NaN.

    Args:
        size: (H, W) of the window.
    """

    def __init__(self, size: Sequence[int]) -> None:
        height, width = size
        self.size: Size = (height, width)

    def draw_window(self, size: Size, rng: np.random.Generator) -> Window:
        """A place in frames of ``size``; where they are smaller than the window, it is the part that they fill."""
        top = int(rng.integers(max(size[0] - self.size[0], 0) + 1))
        left = int(rng.integers(max(size[1] - self.size[1], 0) + 1))
        return Window(top, left, min(size[0], self.size[0]), min(size[1], self.size[1]))

    def pad(self, sample: PairSample) -> PairSample:
        """Fill up to the window's size."""
        height, width = _size(sample)
        padding = (0, self.size[1] - width, 0, self.size[0] - height)
        if not any(padding):
            return sample

        def padded(x: Tensor, fill: float) -> Tensor:
            return F.pad(x, padding, value=fill)

        return map_images(sample, lambda image: padded(image, 0))._replace(
            nonkey_label=padded(sample.nonkey_label, IGNORE_INDEX),
            flow=None if sample.flow is None else padded(sample.flow, float("nan")),
        )

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a place and cut."""
        window = self.draw_window(_size(sample), rng)
        return self.pad(resize_pair(sample, _size(sample), window))


class ResizedCrop:
    """A resize and the crop after it, as one: only what the crop shows is computed.

    Args:
        resize: draws the size.
        crop: draws the window, after the size.
    """

    def __init__(self, resize: ResizeStep, crop: RandomCrop) -> None:
        self.resize = resize
        self.crop = crop

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw size and place; the result is that of the two steps one after the other."""
        size = self.resize.draw_size(_size(sample), rng)
        return self.crop.pad(resize_pair(sample, size, self.crop.draw_window(size, rng)))


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
        return map_images(sample, _mirror)._replace(nonkey_label=sample.nonkey_label.flip(-1), flow=flow)


def resize_pair(sample: PairSample, size: Size, window: Window | None = None) -> PairSample:
    """Resize to (H, W): images bilinear with antialiasing, label nearest, flow with its vectors scaled.

    Args:
        sample: the pair.
        size: (H, W) of the whole result.
        window: the part of the result that is wanted; all of it by default.
    """
    part = window or Window(0, 0, *size)
    if _size(sample) == size:
        flow = None if sample.flow is None else part.cut(sample.flow)
        return map_images(sample, part.cut)._replace(nonkey_label=part.cut(sample.nonkey_label), flow=flow)
    return map_images(sample, lambda image: resize_image(image, size, part))._replace(
        nonkey_label=resize_nearest(sample.nonkey_label, size, part),
        flow=None if sample.flow is None else part.cut(resize_partial_flow(sample.flow, size)),
    )


def _mirror(image: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(cv2.flip(image.permute(1, 2, 0).numpy(), 1), np.uint8)).permute(2, 0, 1)


def _size(sample: PairSample) -> Size:
    height, width = sample.nonkey_image.shape[-2:]
    return height, width
