"""Geometry and color of training pairs: one draw for both frames; the label and the flow follow.

Convention:
    resizing keeps pixel centres (half-pixel grid, align_corners=False) in image, label and flow alike. A flow vector may point
    out of a crop: the motion there is known although its source is not seen. Only padding and unknown pixels are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from src.data.pairs.color_jitter import ColorJitter
from src.data.pairs.dataset import map_images
from src.data.pairs.geometry import cut_pair, pair_size, redraw_pair
from src.ops.resize import Window, short_side_size
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
        steps: the same, but a resize, the crop after it and the flip after that are one :class:`ResizedCrop`.
    """

    def __init__(self, steps: Sequence[PairStep]) -> None:
        joined: list[PairStep] = []
        for step in steps:
            before = joined[-1] if joined else None
            if isinstance(step, RandomCrop) and isinstance(before, ResizeStep):
                joined[-1] = ResizedCrop(before, step)
            elif isinstance(step, RandomHorizontalFlip) and isinstance(before, ResizedCrop) and before.flip is None:
                joined[-1] = ResizedCrop(before.resize, before.crop, step)
            else:
                joined.append(step)
        self.steps = tuple(joined)

    @property
    def device_steps(self) -> tuple[ColorJitter, ...]:
        """What is left to do on the device, once the samples are a batch there."""
        return tuple(step for step in self.steps if isinstance(step, ColorJitter) and step.where == "device")

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
        return redraw_pair(sample, self.draw_size(pair_size(sample), rng))


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
        return redraw_pair(sample, self.draw_size(pair_size(sample), rng))


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
        return redraw_pair(sample, self.draw_size(pair_size(sample), rng))


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
        """DisocclusionScores up to the window's size."""
        height, width = pair_size(sample)
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
        return self.pad(cut_pair(sample, self.draw_window(pair_size(sample), rng)))


class ResizedCrop:
    """A resize, the crop after it and the flip after that, the other way round: cut what will be seen, then resize and mirror it.

    The draws are those of the steps one after the other. What is cut are whole pixels of the frame, so that each edge of the
    crop lies up to half such a pixel beside the drawn place, and no point of the picture is displaced by more: 480 of 540 pixels
    are 426 or 427 of a frame's 480, not 426.67. Nothing beyond the edge is blended into the outermost pixels.

    Args:
        resize: draws the size.
        crop: draws the window, after the size.
        flip: draws whether to mirror, last.
    """

    def __init__(self, resize: ResizeStep, crop: RandomCrop, flip: RandomHorizontalFlip | None = None) -> None:
        self.resize = resize
        self.crop = crop
        self.flip = flip

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw size, place in the frame and direction; cut, resize and mirror."""
        size = self.resize.draw_size(pair_size(sample), rng)
        window = self.crop.draw_window(size, rng)
        shown = cut_pair(sample, window.on_grid(size, pair_size(sample)))
        mirrored = self.flip is not None and self.flip.draw(rng)
        if (window.height, window.width) == self.crop.size:
            return redraw_pair(shown, self.crop.size, mirrored)
        return redraw_pair(self.crop.pad(redraw_pair(shown, (window.height, window.width))), self.crop.size, mirrored)


class RandomHorizontalFlip:
    """Mirror left and right; the flow's dx changes sign.

    Args:
        probability: of mirroring.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def draw(self, rng: np.random.Generator) -> bool:
        """Whether to mirror."""
        return rng.random() < self.probability

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw whether to mirror."""
        return redraw_pair(sample, pair_size(sample), self.draw(rng))
