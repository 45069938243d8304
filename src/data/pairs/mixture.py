"""Mixtures of training samples from several data sets: labelled pairs, stills and unlabelled videos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.data.clips import ClipDataset
from src.data.pairs.dataset import Motion, NumberedSample, PairDataset, Transform
from src.data.pairs.geometry import map_labels
from src.data.pairs.sampling import PairSampling
from src.ops.random_streams import RandomStream
from src.structures import IGNORE_INDEX


@dataclass(frozen=True)
class PairSource:
    """Additional source of a share of the training samples.

    Attributes:
        dataset, motion, samples_per_pair: see :class:`PairDataset`.
        sampling: choice of frames; ``FrameSampling`` for unlabelled videos.
        share: of all training samples, above 0 and below 1.
        transform: to the size of the main data set's samples.
        labelled: ``False`` replaces labels, for example of other classes, by ``IGNORE_INDEX``.
    """

    dataset: ClipDataset
    sampling: PairSampling
    share: float
    transform: Transform | None = None
    motion: Motion | None = None
    labelled: bool = True
    samples_per_pair: int = 1


class MixedPairs(Dataset[NumberedSample]):
    """Map-style data set: item ``n`` is item ``n`` of the source drawn from ``(seed, n)``.

    Unknown flow is NaN, so that all samples can share a batch.

    Args:
        main: source of the remaining share.
        extra: the other sources.

    Raises:
        ValueError: if the shares leave nothing for the main source, one is not positive, or the sources differ in frames.
    """

    def __init__(self, main: PairDataset, extra: Sequence[PairSource]) -> None:
        shares = [source.share for source in extra]
        if min(shares, default=1) <= 0 or sum(shares) >= 1:
            raise ValueError(f"shares of the extra sources are {shares}; expected each above 0 and their sum below 1")
        for source in extra:
            found, expected = (_frames_of(sampling) for sampling in (source.sampling, main.sampling))
            if found != expected:
                found, expected = (
                    f"{frames} ({type(sampling).__name__})"
                    for frames, sampling in ((found, source.sampling), (expected, main.sampling))
                )
                raise ValueError(f"an extra source gives {found}; expected {expected} as of the main source: change its sampling")
        self.bounds = np.cumsum(shares)
        self.main = main
        self.extra = [
            PairDataset(
                source.dataset if source.labelled else Unlabelled(source.dataset), source.sampling, source.transform,
                source.motion, num_samples=len(main), seed=main.seed, samples_per_pair=source.samples_per_pair,
                on_corrupt=main.on_corrupt,
            )
            for source in extra
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.main)

    def __getitem__(self, number: int) -> NumberedSample:
        """Return sample ``number``; errors as of :class:`PairDataset`."""
        draw = np.random.default_rng((self.main.seed, RandomStream.PAIR_SOURCE, number)).random()
        chosen = int(np.searchsorted(self.bounds, draw, side="right"))
        item = (self.extra[chosen] if chosen < len(self.extra) else self.main)[number]
        sample = item.sample
        unknown = torch.full((2, *sample.nonkey_label.shape), torch.nan)
        after_flow = unknown if sample.after_flow is None and sample.after_image is not None else sample.after_flow
        sample = sample._replace(flow=unknown if sample.flow is None else sample.flow, after_flow=after_flow)
        # Labels of synthetic motion are int64, those of files uint8.
        return item._replace(sample=map_labels(sample, lambda label: label.to(torch.uint8)))


def _frames_of(sampling: PairSampling) -> str:
    return f"clips of {sampling.frames_between + 2}" if sampling.frames_between else "triplets" if sampling.triplets else "pairs"


class Unlabelled(ClipDataset):
    """Data set without labels, or with those of other classes: every label pixel is ``IGNORE_INDEX``."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset
        self.classes = dataset.classes
        self.chosen_colors = dataset.chosen_colors
        self.fps = dataset.fps
        self.clips = dataset.clips
        self._last_image: tuple[int, int, torch.Size] | None = None

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """See :meth:`ClipDataset.read_image`."""
        image = self.dataset.read_image(clip, frame, interleaved)
        self._last_image = clip, frame, image.shape[-2:]
        return image

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Return (H, W) of ``IGNORE_INDEX``."""
        # Pair building has just read the image; reading it again would take most of a loader's time.
        if self._last_image is None or self._last_image[:2] != (clip, frame):
            self.read_image(clip, frame)
        assert self._last_image is not None
        return torch.full(self._last_image[2], IGNORE_INDEX, dtype=dtype)

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """See :meth:`ClipDataset.read_flow`."""
        return self.dataset.read_flow(clip, nonkey, key)
