"""Textures of generated scenes, different for each instance of a class."""

import cv2
import numpy as np

from src.data.synthetic.scenes.shapes import BALL, CRATE, POLE, RING, TREE, WALL, Outline
from src.data.synthetic.segments import Singles

TILE = 256
"""Side of the repeating ground texture, samples."""


def fractal_noise(size: tuple[int, int], slope: float, rng: np.random.Generator) -> Singles:
    """Draw periodic noise (h, w), mean 0, standard deviation 1, with amplitude frequency ** -slope."""
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width) * width)
    frequency[0, 0] = 1
    spectrum = rng.normal(0, 1, (*frequency.shape, 2)).view(np.complex128)[..., 0] * frequency**-slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, size)
    return np.asarray(noise / noise.std(), np.float32)


def color(hue: float, saturation: float, value: float) -> Singles:
    """Convert hue (degrees), saturation and value (0..1) to RGB 0..255."""
    pixel = np.array([[[hue % 360, saturation, value]]], np.float32)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0] * 255, np.float32)


def mix(first: Singles, second: Singles, share: Singles) -> Singles:
    """Blend two colors: ``share`` (h, w) of the second."""
    weight = np.clip(share, 0, 1)[..., None]
    return np.asarray(first * (1 - weight) + second * weight, np.float32)


def ground_texture(rng: np.random.Generator) -> Singles:
    """Draw grass, earth or sand with patches and stones: periodic (TILE, TILE, 3), float32 0..255."""
    hue, saturation, value = [(95, 0.5, 0.5), (75, 0.45, 0.55), (35, 0.4, 0.6), (45, 0.25, 0.72)][rng.integers(0, 4)]
    base = color(hue + rng.normal(0, 6), saturation, value + rng.normal(0, 0.04))
    patch = color(hue + rng.normal(-15, 10), saturation * 0.8, value * rng.uniform(0.6, 0.8))
    texture = mix(base, patch, 0.5 + 0.8 * fractal_noise((TILE, TILE), 1.3, rng))
    texture += 16 * fractal_noise((TILE, TILE), 0.6, rng)[..., None]
    stones = fractal_noise((TILE, TILE), 0.9, rng) > 2.1
    texture[stones] = texture[stones] * 0.4 + 120
    return texture.clip(0, 255)


def sky_texture(size: tuple[int, int], rng: np.random.Generator) -> Singles:
    """Draw a gradient with clouds: horizontally periodic (h, w, 3), float32 0..255."""
    dusk = rng.random() < 0.25
    high = color(rng.uniform(205, 225), rng.uniform(0.45, 0.65), rng.uniform(0.75, 0.95))
    low = color(rng.uniform(20, 40), 0.25, 0.95) if dusk else color(rng.uniform(195, 215), 0.12, 0.97)
    rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None] ** 1.5 + np.zeros(size, np.float32)
    clouds = 0.9 * fractal_noise(size, 1.6, rng) - rng.uniform(-0.3, 0.4)
    return mix(mix(high, low, rows), np.array([250, 249, 246], np.float32), np.clip(clouds, 0, 0.9))


def object_texture(kind: int, shape: Outline, rng: np.random.Generator) -> Singles:
    """Draw the shaded surface of an object or wall on the samples of its outline, (h, w, 3) float32 0..255."""
    height, width = shape.distance.shape
    u = shape.corner[0] + np.arange(width, dtype=np.float32) / np.float32(shape.density) + np.zeros((height, 1), np.float32)
    v = shape.corner[1] + np.arange(height, dtype=np.float32)[:, None] / np.float32(shape.density) + np.zeros(width, np.float32)
    painters = {WALL: _wall, TREE: _tree, BALL: _ball, CRATE: _crate, RING: _ring, POLE: _pole}
    texture = painters[kind](shape, u, v, rng)
    texture = texture * _shade(kind, shape, u, v)[..., None] + 5 * fractal_noise((height, width), 0.5, rng)[..., None]
    return np.asarray(texture.clip(0, 255), np.float32)


def _shade(kind: int, shape: Outline, u: Singles, v: Singles) -> Singles:
    """Compute shading for light from the upper left: bright where the surface faces it, dark at the far rim."""
    if kind == WALL:
        return np.ones(u.shape, np.float32)
    depth = np.clip(-shape.distance, 0, None)
    if kind == BALL:
        return np.asarray(np.clip(1.15 - 0.5 * np.hypot(u + 0.4, v + 0.4) ** 1.5, 0.35, 1.2), np.float32)
    rim = np.clip(depth / (0.25 if kind == TREE else 0.12), 0, 1)
    slope_v, slope_u = np.gradient(cv2.GaussianBlur(rim, (0, 0), 2.0))
    return np.asarray(np.clip(0.85 + 0.15 * rim + 2.5 * (slope_u + slope_v), 0.5, 1.25), np.float32)


def _wall(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    """Draw bricks with mortar, windows, and tiles on a gable."""
    base = color(rng.choice([12, 20, 30, 350, 215]) + rng.normal(0, 4), rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.8))
    row = np.floor(v / 0.22)
    column = np.floor(u / 0.5 + 0.5 * (row % 2))
    tone = np.sin(row * 12.99 + column * 78.23 + rng.uniform(0, 6)) * 43758.5453
    texture = base * (0.86 + 0.28 * (tone - np.floor(tone)))[..., None]
    mortar = (np.abs(v / 0.22 - row - 0.5) > 0.42) | (np.abs(u / 0.5 + 0.5 * (row % 2) - column - 0.5) > 0.46)
    texture[mortar] = base * 0.55 + 70
    pitch = rng.uniform(0.9, 1.3)
    window_u, window_v = np.abs((u / pitch) % 1 - 0.5) * pitch, np.abs(((v + 0.4) / pitch) % 1 - 0.5) * pitch
    texture[(window_u < 0.24) & (window_v < 0.3)] = (235, 232, 222)
    texture[(window_u < 0.19) & (window_v < 0.25) & (window_u > 0.02)] = color(210, 0.35, rng.uniform(0.25, 0.5))
    roof = shape.parts == 1
    tiles = color(rng.choice([5, 15, 220]), 0.45, 0.45) * (0.8 + 0.25 * (np.floor(v / 0.12) % 2))[..., None]
    texture[roof] = tiles[roof]
    return np.asarray(texture, np.float32)


def _tree(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    hue = rng.choice([110, 130, 90, 30], p=[0.35, 0.3, 0.2, 0.15]) + rng.normal(0, 6)
    dark, light = color(hue, 0.7, 0.28), color(hue - 12, 0.65, 0.62)
    leaves = mix(dark, light, 0.5 + 0.45 * fractal_noise((u.shape[0], u.shape[1]), 0.9, rng))
    bark = color(25, 0.45, 0.35) * (0.85 + 0.3 * (np.sin(60 * u + 2 * np.sin(9 * v)) > 0))[..., None]
    return np.where((shape.parts == 1)[..., None], leaves, bark).astype(np.float32)


def _ball(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    hue = rng.uniform(0, 360)
    first, second = color(hue, 0.8, 0.95), color(hue + rng.uniform(90, 270), rng.uniform(0.1, 0.8), 0.95)
    count = int(rng.integers(2, 5))
    style = rng.integers(0, 2)
    wave = np.sin(count * np.arctan2(v, u)) if style == 0 else np.sin(2.2 * count * u)
    return mix(first, second, 0.5 + 4 * wave)


def _crate(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    wood = color(rng.uniform(24, 42), rng.uniform(0.45, 0.65), rng.uniform(0.6, 0.85))
    texture = wood * (0.9 + 0.07 * fractal_noise((u.shape[0], u.shape[1]), 0.8, rng))[..., None]
    boards = np.floor(v / 0.4)
    texture = texture * (0.88 + 0.18 * (boards % 2))[..., None]
    texture[np.abs(v / 0.4 - boards - 0.5) > 0.44] *= 0.55
    frame = (shape.distance > -0.17) | (np.abs(np.abs(u) - np.abs(v)) < 0.1)
    texture[frame] = wood * 1.12
    texture[frame & ((np.abs(shape.distance + 0.17) < 0.03) | (np.abs(np.abs(np.abs(u) - np.abs(v)) - 0.1) < 0.03))] *= 0.6
    return np.asarray(texture, np.float32)


def _ring(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    hue = rng.uniform(0, 360)
    first, second = color(hue, 0.75, 0.85), color(hue + rng.normal(0, 20), 0.35, 1.0)
    return mix(first, second, 0.5 + 4 * np.sin(rng.integers(4, 8) * np.arctan2(v, u) + 5 * np.hypot(u, v)))


def _pole(shape: Outline, u: Singles, v: Singles, rng: np.random.Generator) -> Singles:
    pairs = [((0, 0.8, 0.85), (0, 0.0, 0.95)), ((50, 0.85, 0.95), (0, 0.0, 0.15)), ((215, 0.7, 0.75), (0, 0.0, 0.95))]
    first, second = pairs[rng.integers(0, len(pairs))]
    stripes = mix(color(*first), color(*second), 0.5 + 4 * np.sin(rng.uniform(9, 14) * v))
    return np.where((shape.parts == 1)[..., None], color(*first), stripes).astype(np.float32)
