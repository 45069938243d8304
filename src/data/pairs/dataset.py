"""Training samples and batches from a data set of clips and a sampling rule."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from src.data.clips import ClipDataset
from src.data.pairs.sampling import PairSampling
from src.data.samples import FramePair, PairBatch, PairSample
from src.files.images.readers import CorruptFileError
from src.ops.random_streams import RandomStream
from src.structures import IGNORE_INDEX


class Motion(Protocol):
    """Generator of synthetic pairs, triplets and clips from labelled stills."""

    def __call__(self, image: Tensor, label: Tensor, rng: np.random.Generator, triplet: bool = False) -> PairSample:
        """Generate a pair, or a triplet, from one labelled still."""

    def clip(self, image: Tensor, label: Tensor, rng: np.random.Generator, frames_between: int) -> PairSample:
        """Generate a clip with labels of all frames from one labelled still."""


Transform = Callable[[PairSample, np.random.Generator], PairSample]
"""(sample, rng) -> sample; one draw for all frames."""

# More unreadable samples in a row indicate a fault of the storage, not of files.
_MAX_REPLACEMENTS = 8

log = logging.getLogger(__name__)

OnCorrupt = Literal["raise", "skip"]
"""Treatment of a damaged file: raise the error, or replace its sample by another one."""


class NumberedSample(NamedTuple):
    """Sample with its number in the run, and the error messages of the samples that it replaces."""

    sample: PairSample
    number: int
    skipped: tuple[str, ...] = ()


@dataclass(eq=False, repr=False)
class PairDataset(Dataset[NumberedSample]):
    """Map-style data set: item ``n`` is a function of ``(seed, n)`` in any process and order of reading.

    Args:
        dataset: clips with labels.
        sampling: choice of frames.
        transform: applied last, to all frames, label and flow.
        motion: synthetic motion; if given, samples with exact flow are generated from the non-key frame only.
        samples_per_pair: number of consecutive samples from one pair under different transforms. Building a pair costs several
            times as much as the transform, and crops of a wide frame differ.
        num_samples: length.
        seed: 0 or more.
        on_corrupt: ``skip`` replaces a sample with a damaged file by one drawn from ``(seed, n)``, and logs a warning.
    """

    dataset: ClipDataset
    sampling: PairSampling
    transform: Transform | None = None
    motion: Motion | None = None
    _: KW_ONLY
    num_samples: int
    seed: int
    samples_per_pair: int = 1
    on_corrupt: OnCorrupt = "raise"
    _last: NumberedSample | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.on_corrupt not in get_args(OnCorrupt):
            raise ValueError(f"on_corrupt={self.on_corrupt!r}; expected one of {', '.join(get_args(OnCorrupt))}")
        if min(self.num_samples, self.samples_per_pair) < 1 or self.seed < 0:
            found = f"num_samples={self.num_samples}, samples_per_pair={self.samples_per_pair}, seed={self.seed}"
            raise ValueError(f"{found}; expected at least 1, 1 and 0")

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, number: int) -> NumberedSample:
        """Return sample ``number``.

        Raises:
            IndexError: if ``number`` is outside 0..len-1.
            ValueError, FileNotFoundError: of the reader; the message names the file. With ``skip``, not for damaged files.
        """
        if not 0 <= number < self.num_samples:
            raise IndexError(f"sample is {number}; expected 0..{self.num_samples - 1}")
        skipped: list[str] = []
        source = number
        while True:
            try:
                return self._sample(source)._replace(number=number, skipped=tuple(skipped))
            except CorruptFileError as error:
                if self.on_corrupt == "raise" or len(skipped) == _MAX_REPLACEMENTS:
                    raise
                log.warning("sample %d is replaced: %s", number, error)
                skipped.append(str(error))
            # Drawn from an endless run, so that the length of this one has no influence.
            draw = np.random.default_rng((self.seed, RandomStream.REPLACEMENT, number, len(skipped)))
            source = int(draw.integers(2**31))

    def _sample(self, number: int) -> NumberedSample:
        item = self._pair(number // self.samples_per_pair)
        sample = item.sample
        if self.transform is not None:
            sample = self.transform(sample, self._rng(RandomStream.TRANSFORM, number))
        return item._replace(sample=sample, number=number)

    def _pair(self, number: int) -> NumberedSample:
        """Return pair or triplet ``number`` before the transform; the last one is cached for the samples that share it."""
        if self._last is not None and self._last.number == number:
            return self._last
        pair = self.sampling.sample(self.dataset.clips, number, self.seed)
        image = self.dataset.read_image(pair.clip, pair.nonkey, interleaved=True)
        # uint8 is an eighth of the bytes to transfer to the device; synthetic motion takes int64.
        label_type = torch.uint8 if self.motion is None else torch.int64
        label = self.dataset.read_label(pair.clip, pair.nonkey, dtype=label_type)
        if self.motion is not None:
            rng = self._rng(RandomStream.SYNTHETIC_MOTION, number)
            if pair.between:
                sample = self.motion.clip(image, label, rng, len(pair.between))
            else:
                sample = self.motion(image, label, rng, pair.after is not None)
            sample = sample._replace(name=f"{self._name(pair)}+motion")
        else:
            key_image, flow = self._key_frame(pair, pair.key, image)
            sample = PairSample(key_image, image, label, flow, self._name(pair), pair.key - pair.nonkey)
            if pair.after is not None:
                after = self._key_frame(pair, pair.after, image)
                sample = sample._replace(after_image=after[0], after_flow=after[1], after_offset=pair.after - pair.nonkey)
            if pair.between:
                between = tuple(self._key_frame(pair, frame, image)[0] for frame in pair.between)
                labels = tuple(self._reference_label(pair, frame, label) for frame in (pair.key, *pair.between))
                sample = sample._replace(between_images=between, reference_labels=labels)
        item = NumberedSample(sample, number)
        if self.samples_per_pair > 1:
            self._last = item
        return item

    def _key_frame(self, pair: FramePair, frame: int, nonkey_image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Read a key frame, and the flow from the non-key frame to it."""
        image = nonkey_image if frame == pair.nonkey else self.dataset.read_image(pair.clip, frame, interleaved=True)
        if image.shape != nonkey_image.shape:
            raise ValueError(
                f"{self._name(pair)}: key frame {frame} is {tuple(image.shape)}; expected {tuple(nonkey_image.shape)} of the "
                "non-key frame"
            )
        return image, self.dataset.read_flow(pair.clip, nonkey=pair.nonkey, key=frame)

    def _reference_label(self, pair: FramePair, frame: int, target: Tensor) -> Tensor:
        """Read the label of a reference; ``IGNORE_INDEX`` everywhere for a frame without one."""
        if frame == pair.nonkey:
            return target
        if self.dataset.clips[pair.clip].labels[frame] is None:
            return torch.full_like(target, IGNORE_INDEX)
        return self.dataset.read_label(pair.clip, frame, dtype=target.dtype)

    def _name(self, pair: FramePair) -> str:
        frames = "->".join(str(frame) for frame in (pair.key, *pair.between, pair.nonkey))
        name = f"{self.dataset.clips[pair.clip].name}/{frames}"
        return name if pair.after is None else f"{name}<-{pair.after}"

    def _rng(self, stream: RandomStream, number: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, number))


def collate_pairs(items: Sequence[NumberedSample]) -> PairBatch:
    """Stack samples of one size without converting them (:func:`finalize_batch` does).

    Raises:
        ValueError: if sizes differ, or only some samples have flow, a second key frame or frames between; the message names
            the samples.
    """
    samples = [item.sample for item in items]
    sizes = {tuple(sample.nonkey_image.shape[-2:]): sample.name for sample in samples}
    if len(sizes) > 1:
        found = ", ".join(f"{name}: {size[0]}x{size[1]}" for size, name in sizes.items())
        raise ValueError(f"samples of one batch differ in size ({found}); expected equal ones: end the transform with a crop")
    flows, after_images, after_flows, between_images, reference_labels = (
        _all_or_none(what, samples, values)
        for what, values in (
            ("flow", [sample.flow for sample in samples]),
            ("a second key frame", [sample.after_image for sample in samples]),
            ("flow to the second key frame", [sample.after_flow for sample in samples]),
            ("frames between", [torch.stack(x.between_images) if x.between_images else None for x in samples]),
            ("labels of references", [torch.stack(x.reference_labels) if x.reference_labels else None for x in samples]),
        )
    )
    return PairBatch(
        key_image=_stack_images([sample.key_image for sample in samples]),
        nonkey_image=_stack_images([sample.nonkey_image for sample in samples]),
        nonkey_label=default_collate([sample.nonkey_label for sample in samples]),
        flow=default_collate(flows) if flows else None,
        offset=torch.tensor([sample.offset for sample in samples], dtype=torch.int64),
        sample_id=torch.tensor([item.number for item in items], dtype=torch.int64),
        names=[sample.name for sample in samples],
        skipped=tuple((item.number, message) for item in items for message in item.skipped),
        after_image=_stack_images(after_images) if after_images else None,
        after_flow=default_collate(after_flows) if after_flows else None,
        after_offset=torch.tensor([sample.after_offset for sample in samples], dtype=torch.int64) if after_images else None,
        between_images=default_collate(between_images) if between_images else None,
        reference_labels=default_collate(reference_labels) if reference_labels else None,
    )


def _all_or_none(what: str, samples: Sequence[PairSample], values: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the values of all samples, or an empty list where none has a value."""
    found = [value for value in values if value is not None]
    if 0 < len(found) < len(values):
        without = next(sample.name for sample, value in zip(samples, values, strict=True) if value is None)
        raise ValueError(f"{len(found)} of {len(values)} samples have {what} and {without} has none; expected all or none")
    return found


def _stack_images(images: Sequence[Tensor]) -> Tensor:
    """Stack to (B, 3, H, W) in the files' memory order (interleaved channels), which the device converts."""
    # In a loader process, default_collate writes to memory shared with the training process, without a further copy.
    stacked: Tensor = default_collate([image.permute(1, 2, 0) for image in images])
    return stacked.permute(0, 3, 1, 2)


def finalize_batch(batch: PairBatch) -> PairBatch:
    """Convert a batch on the device: contiguous images, int64 labels."""
    return batch._replace(
        key_image=batch.key_image.contiguous(),
        nonkey_image=batch.nonkey_image.contiguous(),
        nonkey_label=batch.nonkey_label.long(),
        after_image=None if batch.after_image is None else batch.after_image.contiguous(),
        reference_labels=None if batch.reference_labels is None else batch.reference_labels.long(),
    )
