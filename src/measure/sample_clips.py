"""Generated clips in the layout of VSPW, to time reading without a data set."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.data.datasets.vspw import VSPW
from src.data.pairs.dataset import PairDataset, collate_pairs, finalize_batch
from src.data.pairs.sampling import UniformSampling
from src.data.pairs.transforms import PairTransform
from src.data.samples import PairBatch
from src.data.synthetic.moving_scenes import MovingScenes
from src.files.atomic_write import write_label_png, write_text
from src.structures import Size

_JPEG_QUALITY = 85
"""JPEG quality with 4:2:0 chroma: about 75 KiB at 480x853, and 12 or 13 KiB for the label."""


def sample_clips(
    root: Path, size: Size, num_classes: int, num_frames: int = 12, seed: int = 0, filtered_labels: bool = False
) -> VSPW:
    """Write one training video in VSPW's layout: segments with texture of every scale, as JPEGs and label PNGs.

    Args:
        root: an empty folder.
        size: (H, W) of the frames.
        num_classes: K; label files contain 1..K, as in VSPW.
        num_frames: number of distinct frames.
        seed: random seed.
        filtered_labels: write PNGs with Pillow's default filters instead of those of ``scripts/prepare_vspw.py``.
    """
    origin, mask = root / "data" / "sample" / "origin", root / "data" / "sample" / "mask"
    for folder in (origin, mask):
        folder.mkdir(parents=True)
    for frame in range(num_frames):
        image, label = _frame(size, num_classes, np.random.default_rng((seed, frame)))
        Image.fromarray(image).save(origin / f"{frame:08d}.jpg", quality=_JPEG_QUALITY)
        if filtered_labels:
            Image.fromarray(label).save(mask / f"{frame:08d}.png")
        else:
            write_label_png(mask / f"{frame:08d}.png", label)
    write_text(root / "train.txt", "sample\n")
    return VSPW(root, "train", num_classes)


def sample_batch(
    root: Path, size: Size, num_classes: int, transform: PairTransform | None, batch_size: int, seed: int = 0
) -> PairBatch:
    """Build a batch of training pairs from :func:`sample_clips`, with random flow: for timing, not for learning."""
    clips = sample_clips(root, size, num_classes, seed=seed)
    pairs = PairDataset(clips, UniformSampling(), transform, num_samples=batch_size, seed=seed)
    batch = finalize_batch(collate_pairs([pairs[number] for number in range(batch_size)]))
    shape = (batch_size, 2, *batch.nonkey_label.shape[-2:])
    return batch._replace(flow=4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def moving_clip(root: Path, size: Size, num_frames: int) -> list[Tensor]:
    """Generate a clip of moving objects in an empty folder, frames (1, 3, H, W) uint8; noise would be no realistic stream."""
    clips = MovingScenes(root, "test", num_clips=1, num_frames=num_frames, size=size)
    return [clips.read_image(0, frame)[None] for frame in range(num_frames)]


def _frame(size: Size, num_classes: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    segments = np.stack([_noise(size, rng, coarsest=3, octaves=3) for _ in range(12)]).argmax(0)
    kinds = rng.integers(1, num_classes + 1, 12).astype(np.uint8)
    colors = rng.uniform(40, 215, (12, 3)).astype(np.float32)
    # Photographs have equal contrast in each octave, which determines the size of their JPEGs.
    texture = _noise(size, rng, coarsest=2, octaves=9) * 30
    pixels = colors[segments] + texture[..., None]
    return pixels.clip(0, 255).astype(np.uint8), kinds[segments]


def _noise(size: Size, rng: np.random.Generator, coarsest: int, octaves: int) -> NDArray[np.float32]:
    """Sum smooth noises (H, W), each twice as fine as the previous one and 0.7 times as strong."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        grid = rng.standard_normal((min(cells, size[0]), min(cells * 2, size[1])), np.float32)
        total += 0.7**octave * cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return total
