"""The color jitter of SSD (Liu et al., 2016), applied to bytes by a loader process or to batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.pairs.dataset import map_images
from src.ops.random_streams import RandomStream
from src.structures import PairBatch, PairSample


class ColorChange(NamedTuple):
    """One change of colors, for all frames of a sample; the default of each field changes nothing.

    Attributes:
        shift: of brightness, of 255.
        contrast: factor about 0, not about the image's mean, so that both frames change alike.
        contrast_first: whether contrast comes before saturation and hue, or after.
        saturation: factor.
        hue: turn, in turns.
    """

    shift: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    hue: float = 0.0

    @property
    def turns_colors(self) -> bool:
        """Whether saturation or hue change, for which colors are converted."""
        return self.saturation != 1 or self.hue != 0


class ColorJitter:
    """The color jitter of SSD (Liu et al., 2016): brightness, contrast, saturation and hue, each with probability one half.

    Contrast comes before or after saturation and hue with equal chance.

    Args:
        brightness: largest shift, of 255.
        contrast: factor 1 - x .. 1 + x.
        saturation: factor 1 - x .. 1 + x.
        hue: largest turn, in turns; 0.1 are the 18 of 180 steps of the usual 8-bit code.
        where: ``worker``: applied here; ``device``: left to :meth:`change_batch` after the transfer to the device. The other
            steps draw the same either way.

    Raises:
        ValueError: if ``where`` is neither.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.1,
        where: Literal["worker", "device"] = "worker",
    ) -> None:
        if where not in ("worker", "device"):
            raise ValueError(f"color jitter on {where!r}; expected 'worker' or 'device'")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.where = where

    def draw(self, rng: np.random.Generator) -> ColorChange:
        """Draw the four changes, each whether used or not, so that one draw never shifts the meaning of the next."""
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
        """Draw a change and apply it to both frames."""
        change = self.draw(rng)
        if self.where == "device" or change == ColorChange(contrast_first=change.contrast_first):
            return sample
        return map_images(
            sample,
            lambda image: torch.from_numpy(change_bytes(image.permute(1, 2, 0).numpy(), change)).permute(2, 0, 1),
        )

    def change_batch(self, batch: PairBatch, seed: int) -> PairBatch:
        """What ``where="device"`` left to do: one change for both frames of each sample, drawn by ``seed`` and sample number."""
        streams = ((seed, RandomStream.DEVICE_COLOR_JITTER, number) for number in batch.sample_id.tolist())
        draws = [self.draw(np.random.default_rng(stream)) for stream in streams]
        return batch._replace(
            key_image=change_batch(batch.key_image, draws), nonkey_image=change_batch(batch.nonkey_image, draws)
        )


def change_bytes(pixels: NDArray[np.uint8], change: ColorChange) -> NDArray[np.uint8]:
    """Apply a change to (H, W, 3) RGB by tables of 256 values: a tenth of the time of float color conversion.

    Args:
        pixels: in any memory order.
        change: all rounded to 8 bits after each step, hue to 2 degrees.
    """
    levels = np.arange(256)
    scaled = _levels(levels * change.contrast)
    before = _levels(levels + change.shift)
    before = scaled[before] if change.contrast_first else before
    pixels = np.asarray(cv2.LUT(pixels, before), np.uint8)
    if change.turns_colors:
        turned = (levels + round(180 * change.hue)) % 180 if change.hue else levels
        table = np.stack((turned, _levels(levels * change.saturation), levels), axis=-1).astype(np.uint8)[None]
        pixels = cv2.cvtColor(cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB).astype(
            np.uint8, copy=False
        )
    return pixels if change.contrast_first else np.asarray(cv2.LUT(pixels, scaled), np.uint8)


def change_batch(images: Tensor, changes: Sequence[ColorChange]) -> Tensor:
    """Apply a change to each image of a batch, on its device, in float32.

    Args:
        images: (B, 3, H, W) uint8 RGB.
        changes: B of them.

    Returns:
        (B, 3, H, W) uint8; :func:`change_bytes` differs from it by its own rounding, up to 8 levels where the hue turns.
    """

    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1, 1)

    x = (images + each([change.shift for change in changes])).clamp(0, 255)
    x = (x * each([change.contrast if change.contrast_first else 1.0 for change in changes])).clamp(0, 255)
    saturation, hue = each([change.saturation for change in changes]), each([change.hue for change in changes])
    x = torch.where((saturation != 1) | (hue != 0), _turn(x, saturation, hue), x)
    x = (x * each([1.0 if change.contrast_first else change.contrast for change in changes])).clamp(0, 255)
    return x.round().to(torch.uint8)


def _turn(rgb: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Hue turned and saturation scaled, value kept, as in the HSV cone."""
    value, least = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    chroma = value - least
    red, green, blue = rgb.unbind(1)
    spread = chroma[:, 0].clamp(min=1e-6)
    sixth = torch.where(
        red == value[:, 0],
        (green - blue) / spread,
        torch.where(green == value[:, 0], 2 + (blue - red) / spread, 4 + (red - green) / spread),
    )[:, None]
    # Saturation is chroma / value and ends at 1.
    chroma = torch.minimum(chroma * saturation, value)
    position = sixth + 6 * hue
    offsets = rgb.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = torch.remainder(offsets + position, 6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
