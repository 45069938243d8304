"""Laws of loader rates: waiting in a step costs rate, decoding is counted apart, and the process is left as it was."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from src.data.datasets.vspw import VSPW
from src.data.pairs.sampling import SingleFrameSampling, UniformSampling
from src.data.pairs.transforms import PairStep, PairTransform, RandomCrop
from src.data.samples import PairSample
from src.measure.loader import DECODERS, loader_rates
from src.measure.sample_clips import sample_clips


class Wait(PairStep):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, sample: PairSample, rng: np.random.Generator) -> PairSample:
        time.sleep(self.seconds)
        return sample


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> VSPW:
    return sample_clips(tmp_path_factory.mktemp("clips"), (96, 128), num_classes=4, num_frames=4)


def test_a_slow_step_shows_in_its_part_and_in_the_rate(clips: VSPW) -> None:
    crop = RandomCrop([48, 48])
    transforms = {"quick": PairTransform([crop]), "slow": PairTransform([crop, Wait(0.02)])}
    rates = loader_rates(clips, UniformSampling(2), transforms, num_pairs=8, batch_size=2)
    quick, slow = rates["quick"], rates["slow"]
    assert 20 <= slow.parts_ms["Wait"] < 60 and "Wait" not in quick.parts_ms
    assert slow.pairs_per_s < min(50, quick.pairs_per_s)
    assert set(quick.parts_ms) == {"read images", "read label", "RandomCrop", "collate"}
    # The parts are all of it, but for the generators of random numbers and the like.
    assert 0.5 < sum(slow.parts_ms.values()) * slow.pairs_per_s / 1e3 < 1.5
    for rate in (quick, slow):
        assert rate.decode_pairs_per_s.keys() == DECODERS.keys()
        assert rate.ratio("opencv") == rate.pairs_per_s / rate.decode_pairs_per_s["opencv"]


def test_the_data_set_and_the_process_are_unchanged(clips: VSPW) -> None:
    torch.set_num_threads(2)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    loader_rates(clips, SingleFrameSampling(), {"all": PairTransform([])}, num_pairs=2, batch_size=1)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
    assert "read_image" not in vars(clips) and clips.read_image(0, 0).shape == (3, 96, 128)
    torch.set_num_threads(1)


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_decoders_give_the_pixels_of_the_file(clips: VSPW, decode: object) -> None:
    assert callable(decode)
    pixels = decode(Path(clips.clips[0].images[0]))
    difference = np.abs(clips.read_image(0, 0).permute(1, 2, 0).numpy().astype(int) - pixels)
    assert difference.max() <= 2


def test_fewer_pairs_than_a_block_are_refused(clips: VSPW) -> None:
    with pytest.raises(ValueError, match="num_pairs=2, batch_size=4"):
        loader_rates(clips, UniformSampling(2), {"all": PairTransform([])}, num_pairs=2, batch_size=4)
