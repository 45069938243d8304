"""Frames as callers have them, converted to the images that the networks read; anything ambiguous is an error."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

FrameInput = Tensor | NDArray[np.uint8] | Image.Image
"""Tensor (B, 3, H, W) or (3, H, W), uint8 or float 0..255; uint8 array (H, W, 3) or (B, H, W, 3); 8-bit PIL image. All RGB."""

_ORIENTATION = 0x0112
_SCALE = "multiply images in 0..1 by 255, and undo any mean and standard deviation"


def image_batch(image: FrameInput) -> Tensor:
    """Return frames as (B, 3, H, W), uint8 or float32 in 0..255; uint8 tensors are not copied.

    OpenCV's order of channels (BGR) looks like any other picture: turn it by ``frame[..., ::-1]``.

    Raises:
        ValueError: if the image has another layout or type, is empty, has values outside 0..255, or is scaled to 0..1.
        TypeError: if it is no image.
    """
    if isinstance(image, Image.Image):
        image = _pil_pixels(image)
    if isinstance(image, np.ndarray):
        image = _channels_first(image)
    if not isinstance(image, Tensor):
        raise TypeError(f"image is a {type(image).__name__}; expected a tensor, a uint8 array (H, W, 3) or a PIL image")
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or 0 in image.shape:
        hint = "; use image.movedim(-1, -3)" if image.ndim in (3, 4) and image.shape[-1] == 3 else ""
        raise ValueError(f"image is {tuple(image.shape)}; expected (B, 3, H, W) or (3, H, W) of at least one pixel{hint}")
    images = image if image.ndim == 4 else image[None]
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ValueError(f"image is {str(images.dtype).removeprefix('torch.')}; expected uint8, or floats in 0..255")
    if not images.is_meta:
        _check_range(images)
    return images.float() if images.dtype == torch.float64 else images


def one_image(frame: FrameInput) -> Tensor:
    """Return a frame of one stream as (1, 3, H, W) by :func:`image_batch`; several are a ``ValueError``."""
    images = image_batch(frame)
    if len(images) != 1:
        raise ValueError(f"frame is {tuple(images.shape)}; expected one image, as a video has one stream")
    return images


def _check_range(images: Tensor) -> None:
    low, high = (float(value) for value in torch.aminmax(images.float()))
    # Written so that NaN fails. Black is 0 in both scales.
    if not (low >= 0 and high <= 255):
        raise ValueError(f"image has values {low:g}..{high:g}; expected RGB in 0..255; {_SCALE}")
    if 0 < high <= 1:
        raise ValueError(f"image has values {low:g}..{high:g}, as if scaled to 0..1; expected RGB in 0..255; {_SCALE}")


def _pil_pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode not in ("RGB", "L"):
        raise ValueError(f"image has mode {image.mode}; expected RGB or L; use image.convert('RGB')")
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise ValueError("image is to be turned, by its EXIF orientation; use PIL.ImageOps.exif_transpose(image)")
    return np.asarray(image.convert("RGB"))


def _channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    if pixels.dtype != np.uint8:
        raise ValueError(f"image array is {pixels.dtype}; expected uint8 (0..255)")
    if pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        hint = "; use np.moveaxis(image, -3, -1)" if pixels.ndim in (3, 4) and pixels.shape[-3] == 3 else ""
        raise ValueError(f"image array is {pixels.shape}; expected (H, W, 3) or (B, H, W, 3){hint}")
    # Torch has no negative strides, and warns of read-only memory.
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).movedim(-1, -3).contiguous()
