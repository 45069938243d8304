"""Photometric differences between frames of a video: exposure, color, focus, noise, compression."""

import cv2
import numpy as np

from src.data.synthetic.segments import Bytes


def change_light(image: Bytes, strength: float, rng: np.random.Generator) -> Bytes:
    """Change brightness, contrast, gamma and color balance of (H, W, 3) by one random curve per channel.

    The strength is 1 for frames half a second apart; 0 changes nothing.
    """
    gamma = np.exp(rng.normal(0, 0.06) * strength)
    contrast = np.exp(rng.normal(0, 0.08) * strength)
    brightness = rng.normal(0, 8.0) * strength
    balance = np.exp(rng.normal(0, 0.02, 3) * strength)
    levels = (np.arange(256) / 255.0)[:, None] ** gamma * 255.0
    middle = float(image.mean())
    curve = ((levels - middle) * contrast + middle + brightness * middle / 127.5) * balance
    return np.asarray(cv2.LUT(image, np.rint(curve).clip(0, 255).astype(np.uint8)[:, None]), np.uint8)


def blur(image: Bytes, sigma: float) -> Bytes:
    """Blur by a Gaussian of ``sigma`` pixels; below 0.2 the image is returned unchanged."""
    if sigma < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def add_noise(image: Bytes, sigma: float, rng: np.random.Generator) -> Bytes:
    """Add independent, nearly Gaussian noise to every value; ``sigma`` in grey levels."""
    if sigma <= 0:
        return image
    # Sums of two random bytes by table are five times faster than normal deviates, and the tails do not matter here.
    table = ((np.arange(256) - 127.5) * (sigma * np.sqrt(0.5) / 73.9)).astype(np.float32)
    draws = rng.integers(0, 256, (2, image.size), dtype=np.uint8)
    noise = cv2.add(cv2.LUT(draws[0], table), cv2.LUT(draws[1], table)).reshape(image.shape)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def compress(image: Bytes, quality: int) -> Bytes:
    """Encode as JPEG and decode again; ``quality`` 0..100."""
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
