"""Steps of a pair transform and their geometry: one draw for all frames; the labels and the flows follow.

Convention:
    resizing keeps pixel centers (half-pixel grid, align_corners=False) in image, label and flow alike. A flow vector may point
    out of a crop: the motion is known although the source is cut off. Only padding and unknown pixels are NaN.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.data.pairs.geometry import crop_pair, pad_pair, pair_size, resize_pair
from src.data.samples import PairBatch, PairSample
from src.ops.resize import Window, short_side_size
from src.structures import IGNORE_INDEX, Size

_CROP_REDRAWS = 10


# Steps are not dataclasses: Hydra turns dataclass objects within a list into configs, which lack the methods.
class PairStep(ABC):
    """Step of a transform: a function of the sample and the generator, and of nothing else."""

    @abstractmethod
    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Return the transformed sample."""

    def fuse(self, following: PairStep) -> PairStep | None:
        """Return one step for this and the following one, with their draws, or ``None`` where there is none."""
        return None

    def apply_to_batch(self, batch: PairBatch, seed: int) -> PairBatch:
        """Apply the part of the step that is left to the device: by default none.

        The seed of the run and the sample numbers of the batch key every draw.
        """
        return batch


class PairTransform(PairStep):
    """Steps in order; all draw from one generator.

    Attributes:
        steps: after fusing neighbors: a resize, the crop after it and the flip after that are one :class:`ResizedCrop`.
    """

    def __init__(self, steps: Sequence[PairStep]) -> None:
        self.steps: list[PairStep] = []
        for step in steps:
            fused = self.steps[-1].fuse(step) if self.steps else None
            if fused is None:
                self.steps.append(step)
            else:
                self.steps[-1] = fused

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Apply the steps."""
        for step in self.steps:
            sample = step(sample, rng)
        return sample

    def apply_to_batch(self, batch: PairBatch, seed: int) -> PairBatch:
        """Apply the parts that the steps leave to the device."""
        for step in self.steps:
            batch = step.apply_to_batch(batch, seed)
        return batch


class ResizeStep(PairStep):
    """Step that only resizes; with a crop and a flip after it, it is fused into a :class:`ResizedCrop`."""

    @abstractmethod
    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """Return (H, W) of the result for frames of ``size``."""

    def fuse(self, following: PairStep) -> PairStep | None:
        """Fuse with a crop."""
        return ResizedCrop(self, following) if isinstance(following, RandomCrop) else None

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a size and resize."""
        return resize_pair(sample, self.draw_size(pair_size(sample), rng))


class RandomShortSide(ResizeStep):
    """Resize to a short side drawn from a list (paper, VSPW: 480..1920 in 16 steps, the long side capped at 960)."""

    def __init__(self, short_sides: Sequence[int] = tuple(range(480, 1921, 96)), max_long_side: int | None = 960) -> None:
        self.short_sides = tuple(short_sides)
        self.max_long_side = max_long_side

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """Draw a short side and return (H, W)."""
        return short_side_size(size, self.short_sides[rng.integers(len(self.short_sides))], self.max_long_side)


class ResizeShortSide(RandomShortSide):
    """Resize to a short side, for evaluation (VSPW: 480); where the long side would exceed its maximum (853), scale both down."""

    def __init__(self, short_side: int, max_long_side: int | None = None) -> None:
        super().__init__((short_side,), max_long_side)


class ScaleJitter(ResizeStep):
    """Resize by a factor drawn uniformly from ``low`` to ``high``.

    Args:
        low, high: limits of the factor.
        short_side, max_long_side: size that the factor multiplies, as of :class:`ResizeShortSide`; ``None``: that of the frame.
    """

    def __init__(
        self, low: float = 0.5, high: float = 2.0, short_side: int | None = None, max_long_side: int | None = None
    ) -> None:
        if not 0 < low <= high:
            raise ValueError(f"scale jitter {low}..{high}; expected 0 < low <= high")
        self.low = low
        self.high = high
        self.short_side = short_side
        self.max_long_side = max_long_side

    def draw_size(self, size: Size, rng: np.random.Generator) -> Size:
        """Draw a factor and return (H, W)."""
        scale = rng.uniform(self.low, self.high)
        if self.short_side is not None:
            limit = None if self.max_long_side is None else int(self.max_long_side * scale)
            return short_side_size(size, int(self.short_side * scale), limit)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class RandomCrop(PairStep):
    """Cut the same window out of all frames, at a place drawn uniformly.

    Args:
        size: (H, W) of the window.
        max_class_share: the window is drawn again, up to ten times, until it has two classes and none of them covers more of
            its labelled pixels than this share; 1 takes the first window.
        pad: pad frames smaller than the window, as :class:`Pad` with black does; ``False`` keeps them smaller.
    """

    def __init__(self, size: Sequence[int], max_class_share: float = 1.0, pad: bool = True) -> None:
        height, width = size
        self.size: Size = (height, width)
        if not 0 < max_class_share <= 1:
            raise ValueError(f"max_class_share is {max_class_share}; expected above 0 and at most 1")
        self.max_class_share = max_class_share
        self.pads = pad

    def draw_window(self, size: Size, label: Tensor, rng: np.random.Generator) -> Window:
        """Draw a window in frames of ``size``; clipped to the frames where they are smaller than the crop.

        ``label`` is that of the non-key frame on any grid.
        """
        window = self._draw_any_window(size, rng)
        for _ in range(_CROP_REDRAWS if self.max_class_share < 1 else 0):
            if _largest_share(window.on_grid(size, (label.shape[0], label.shape[1])).cut(label)) < self.max_class_share:
                break
            window = self._draw_any_window(size, rng)
        return window

    def _draw_any_window(self, size: Size, rng: np.random.Generator) -> Window:
        top = int(rng.integers(max(size[0] - self.size[0], 0) + 1))
        left = int(rng.integers(max(size[1] - self.size[1], 0) + 1))
        return Window(top, left, min(size[0], self.size[0]), min(size[1], self.size[1]))

    def pad(self, sample: PairSample) -> PairSample:
        """Pad to the size of the crop, unless frames are to stay smaller."""
        return pad_pair(sample, self.size) if self.pads else sample

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw a place and cut."""
        return self.pad(crop_pair(sample, self.draw_window(pair_size(sample), sample.nonkey_label, rng)))


class Pad(PairStep):
    """Pad frames smaller than ``size`` right and bottom, by :func:`pad_pair`.

    Args:
        size: (H, W) of the result.
        color: RGB 0..255; the mean color of the network's normalization pads with 0 after it.
    """

    def __init__(self, size: Sequence[int], color: Sequence[int] = (0, 0, 0)) -> None:
        height, width = size
        self.size: Size = (height, width)
        red, green, blue = color
        self.color = (red, green, blue)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Pad, without a draw."""
        return pad_pair(sample, self.size, self.color)


def _largest_share(label: Tensor) -> float:
    """Return the largest share of a class among the labelled pixels; 1 where there are fewer than two classes."""
    counts = torch.bincount(label[label != IGNORE_INDEX].flatten().int())
    return 1.0 if (counts > 0).sum() < 2 else float(counts.max() / counts.sum())


@dataclass(eq=False)
class ResizedCrop(PairStep):
    """A resize, the crop after it and the flip after that, in reverse: cut the visible part, then resize and mirror it.

    The draws equal those of the separate steps. The cut is along whole pixels of the frame, so that each edge of the crop, and
    each point of the image, lies up to half such a pixel beside the drawn place: 480 of 540 pixels are 426 or 427 of a frame's
    480, not 426.67. Nothing beyond the edge is blended into the outermost pixels.
    """

    resize: ResizeStep
    crop: RandomCrop
    flip: RandomHorizontalFlip | None = None

    def fuse(self, following: PairStep) -> PairStep | None:
        """Fuse with a flip."""
        if self.flip is not None or not isinstance(following, RandomHorizontalFlip):
            return None
        return ResizedCrop(self.resize, self.crop, following)

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw size, window and direction; cut, resize and mirror."""
        size = self.resize.draw_size(pair_size(sample), rng)
        window = self.crop.draw_window(size, sample.nonkey_label, rng)
        shown = crop_pair(sample, window.on_grid(size, pair_size(sample)))
        mirrored = self.flip is not None and self.flip.draw(rng)
        if (window.height, window.width) == self.crop.size:
            return resize_pair(shown, self.crop.size, mirrored)
        padded = self.crop.pad(resize_pair(shown, (window.height, window.width)))
        return resize_pair(padded, pair_size(padded), mirrored)


class RandomHorizontalFlip(PairStep):
    """Mirror left and right with a probability; the flow's dx changes sign."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def draw(self, rng: np.random.Generator) -> bool:
        """Draw the direction; true mirrors."""
        return rng.random() < self.probability

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw the direction and mirror."""
        return resize_pair(sample, pair_size(sample), self.draw(rng))
