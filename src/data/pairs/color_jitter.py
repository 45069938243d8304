"""Color jitter of SSD (Liu et al., 2016), applied to bytes by a loader process or to batches on the device."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.pairs.geometry import map_images
from src.data.pairs.transforms import PairStep
from src.data.samples import PairBatch, PairSample
from src.ops.random_streams import RandomStream


class ColorChange(NamedTuple):
    """Change of colors for all frames of a sample; the default of each field changes nothing.

    Attributes:
        shift: of brightness, levels of 255.
        contrast: factor about 0, not about the image's mean, so that all frames change alike.
        contrast_first: contrast comes before saturation and hue instead of after them.
        saturation: factor.
        hue: rotation, in turns.
    """

    shift: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    hue: float = 0.0

    @property
    def needs_hsv(self) -> bool:
        """True if saturation or hue change."""
        return self.saturation != 1 or self.hue != 0


class ColorJitter(PairStep):
    """Brightness, contrast, saturation and hue jitter (SSD, Liu et al., 2016), each with probability one half.

    Contrast comes before or after saturation and hue with equal chance.

    Args:
        brightness: largest shift, levels of 255.
        contrast, saturation: factor 1 - x .. 1 + x.
        hue: largest rotation, in turns; 0.1 equals 18 of the 180 steps of the usual 8-bit code.
        where: ``worker``: applied in the loader process; ``device``: left to :meth:`apply_to_batch` after the transfer to the
            device. The draws of the other steps are equal either way.
        per_frame: draw a change for every frame of a sample instead of one for all.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.1,
        where: Literal["worker", "device"] = "worker",
        per_frame: bool = False,
    ) -> None:
        if where not in ("worker", "device"):
            raise ValueError(f"color jitter on {where!r}; expected 'worker' or 'device'")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.where = where
        self.per_frame = per_frame

    def draw(self, rng: np.random.Generator) -> ColorChange:
        """Draw all four changes, used or not, so that every sample takes equally many numbers from the generator."""
        use = rng.random(5) < 0.5
        shift = rng.uniform(-self.brightness, self.brightness)
        contrast = rng.uniform(1 - self.contrast, 1 + self.contrast)
        saturation = rng.uniform(1 - self.saturation, 1 + self.saturation)
        hue = rng.uniform(-self.hue, self.hue)
        return ColorChange(
            shift=shift if use[0] else 0.0,
            contrast=contrast if use[1] else 1.0,
            contrast_first=bool(use[4]),
            saturation=saturation if use[2] else 1.0,
            hue=hue if use[3] else 0.0,
        )

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        """Draw one change and apply it to all frames, or one for each frame."""
        first = self.draw(rng)
        if self.where == "device":
            return sample

        def changed(image: Tensor) -> Tensor:
            change = self.draw(rng) if self.per_frame else first
            if change == ColorChange(contrast_first=change.contrast_first):
                return image
            return torch.from_numpy(change_bytes(image.permute(1, 2, 0).numpy(), change)).permute(2, 0, 1)

        return map_images(sample, changed, each=self.per_frame)

    def apply_to_batch(self, batch: PairBatch, seed: int) -> PairBatch:
        """With ``where="device"``, change the frames of each sample; the draw is a function of (seed, sample number)."""
        if self.where == "worker":
            return batch
        keys = ((seed, RandomStream.DEVICE_COLOR_JITTER, number) for number in batch.sample_id.tolist())
        rngs = [np.random.default_rng(key) for key in keys]
        first = [self.draw(rng) for rng in rngs]

        def changed(images: Tensor) -> Tensor:
            return change_images(images, [self.draw(rng) for rng in rngs] if self.per_frame else first)

        between = batch.between_images
        return batch._replace(
            key_image=changed(batch.key_image),
            nonkey_image=changed(batch.nonkey_image),
            after_image=None if batch.after_image is None else changed(batch.after_image),
            between_images=None if between is None else torch.stack([changed(images) for images in between.unbind(1)], 1),
        )


def change_bytes(pixels: NDArray[np.uint8], change: ColorChange) -> NDArray[np.uint8]:
    """Apply a change to (H, W, 3) RGB by tables of 256 values, in a tenth of the time of float color conversion.

    Results are rounded to 8 bits after each step, hue to 2 degrees.
    """
    levels = np.arange(256)
    scaled = _levels(levels * change.contrast)
    before = _levels(levels + change.shift)
    before = scaled[before] if change.contrast_first else before
    pixels = np.asarray(cv2.LUT(pixels, before), np.uint8)
    if change.needs_hsv:
        hue = (levels + round(180 * change.hue)) % 180 if change.hue else levels
        table = np.stack((hue, _levels(levels * change.saturation), levels), axis=-1).astype(np.uint8)[None]
        hsv = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table)
        pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.uint8, copy=False)
    return pixels if change.contrast_first else np.asarray(cv2.LUT(pixels, scaled), np.uint8)


def change_images(images: Tensor, changes: Sequence[ColorChange]) -> Tensor:
    """Apply one change to each image of a batch (B, 3, H, W) uint8 RGB, on its device, in float32.

    The result differs from :func:`change_bytes` by the rounding of the latter, up to 8 levels where the hue rotates.
    """
    # Importing kornia takes more than a second, and only jitter on the device needs it.
    from kornia.enhance import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation

    def factors(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=images.device)

    x = adjust_brightness(images.float() / 255, factors([change.shift / 255 for change in changes]))
    x = adjust_contrast(x, factors([change.contrast if change.contrast_first else 1.0 for change in changes]))
    if any(change.needs_hsv for change in changes):
        x = adjust_saturation(x, factors([change.saturation for change in changes]))
        x = adjust_hue(x, factors([2 * math.pi * change.hue for change in changes]))
    x = adjust_contrast(x, factors([1.0 if change.contrast_first else change.contrast for change in changes]))
    return (255 * x).round().to(torch.uint8)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
