"""Rate of reading training pairs in one loader process, compared with bare decoding of the same JPEGs."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from src.data.clips import FileClips
from src.data.pairs.dataset import PairDataset, collate_pairs
from src.data.pairs.sampling import PairSampling
from src.data.pairs.transforms import PairTransform
from src.data.samples import PairSample
from src.data.worker import prepare_worker
from src.ops.device import milliseconds


@dataclass(frozen=True)
class LoaderRate:
    """Rates of one loader process with one thread.

    Attributes:
        pairs_per_s: pairs read, transformed and collated per second.
        decode_pairs_per_s: pairs whose two images are only decoded, per second and decoder of ``DECODERS``.
        parts_ms: mean milliseconds per pair of each part of the work.
    """

    pairs_per_s: float
    decode_pairs_per_s: Mapping[str, float]
    parts_ms: Mapping[str, float]

    def ratio(self, decoder: str = "pillow") -> float:
        """Compute the ratio of the loader's rate to a decoder's."""
        return self.pairs_per_s / self.decode_pairs_per_s[decoder]


def loader_rates(
    dataset: FileClips,
    sampling: PairSampling,
    transforms: Mapping[str, PairTransform],
    num_pairs: int = 96,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, LoaderRate]:
    """Read training pairs in blocks as a loader process does; each block is followed by bare decoding of its JPEGs.

    Rates are medians over the blocks, so that moments in which the machine is busy do not count.

    Args:
        dataset: clips of image files. Files are read repeatedly and so come from the system's cache.
        sampling: sampling of the pairs' frames.
        transforms: transforms of the pairs by name; each must produce one size.
        num_pairs: number of pairs, at least ``batch_size``.
        batch_size: pairs per block.
        seed: seed of sampling and transforms.
    """
    if not 1 <= batch_size <= num_pairs:
        raise ValueError(f"num_pairs={num_pairs}, batch_size={batch_size}; expected at least one block of at least one pair")
    loaders = {name: _TimedLoader(dataset, sampling, transform, num_pairs, seed) for name, transform in transforms.items()}
    times: defaultdict[str, list[float]] = defaultdict(list)
    with _one_thread():
        for loader in loaders.values():
            loader.read(range(batch_size))
            loader.parts.clear()
        for first in range(0, num_pairs - batch_size + 1, batch_size):
            block = range(first, first + batch_size)
            for name, loader in loaders.items():
                times[f"loader {name}"].append(milliseconds(partial(loader.read, block))[0])
            files = [path for number in block for path in _images(dataset, sampling, number, seed)]
            for name, decode in DECODERS.items():
                times[name].append(milliseconds(partial(_for_each, decode, files))[0])
    rates = {name: 1e3 * batch_size / median(values) for name, values in times.items()}
    read = num_pairs // batch_size * batch_size
    return {
        name: LoaderRate(
            pairs_per_s=rates[f"loader {name}"],
            decode_pairs_per_s={decoder: rates[decoder] for decoder in DECODERS},
            parts_ms={part: value / read for part, value in loader.parts.items()},
        )
        for name, loader in loaders.items()
    }


def _decode_pillow(path: Path) -> object:
    with path.open("rb") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


DECODERS: Mapping[str, Callable[[Path], object]] = {
    "pillow": _decode_pillow,
    "opencv": lambda path: cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB),
}
"""Decoders from JPEG to RGB: Pillow, which torchvision's data sets use, and OpenCV, which is faster."""


class _TimedLoader:
    """Reader of blocks of pairs that totals the milliseconds of each part of the work in ``parts``."""

    def __init__(self, dataset: FileClips, sampling: PairSampling, transform: PairTransform, num_pairs: int, seed: int) -> None:
        self.parts: defaultdict[str, float] = defaultdict(float)
        timed = copy(dataset)
        # Instance attributes hide the methods, so that a copy of any data set can be timed.
        timed.read_image = self._timed("read images", dataset.read_image)  # type: ignore[method-assign]
        timed.read_label = self._timed("read label", dataset.read_label)  # type: ignore[method-assign]
        steps = [self._timed(type(step).__name__, step) for step in transform.steps]

        def apply(sample: PairSample, rng: np.random.Generator) -> PairSample:
            for step in steps:
                sample = step(sample, rng)
            return sample

        self.pairs = PairDataset(timed, sampling, apply, num_samples=num_pairs, seed=seed)
        self.collate = self._timed("collate", collate_pairs)

    def read(self, block: Sequence[int]) -> object:
        """Read one batch."""
        return self.collate([self.pairs[number] for number in block])

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            taken, result = milliseconds(partial(function, *arguments, **options))
            self.parts[part] += taken
            return result

        return timed


def _images(dataset: FileClips, sampling: PairSampling, number: int, seed: int) -> list[Path]:
    pair = sampling.sample(dataset.clips, number, seed)
    images = dataset.clips[pair.clip].images
    # A frame paired with itself is decoded once.
    return [images[frame] for frame in dict.fromkeys((pair.nonkey, pair.key))]


def _for_each(function: Callable[[Path], object], paths: Sequence[Path]) -> list[object]:
    return [function(path) for path in paths]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run with the settings of a loader process."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    prepare_worker(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
