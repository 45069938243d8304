"""Laws of mixing sources: shares, samples equal to those of the source, and unlabelled samples."""

import pytest
import torch
from hydra.utils import instantiate

from src.data.pairs.dataset import PairDataset, collate_pairs
from src.data.pairs.mixture import MixedPairs, PairSource
from src.data.pairs.sampling import FrameSampling, SingleFrameSampling, TripletSampling, UniformSampling
from src.data.synthetic.stills.motion import SyntheticMotion
from src.structures import IGNORE_INDEX
from tests.inference.tiny import FakeClips


class Flowless(FakeClips):
    def read_flow(self, clip: int, nonkey: int, key: int) -> None:
        return None


def main(seed: int = 3, samples: int = 400) -> PairDataset:
    return PairDataset(FakeClips(), UniformSampling(3), num_samples=samples, seed=seed)


def video(share: float = 0.25) -> PairSource:
    return PairSource(Flowless(unlabelled=frozenset(range(6))), FrameSampling(2), share, labelled=False)


def is_unlabelled(mixed: MixedPairs, number: int) -> bool:
    return bool((mixed[number].sample.nonkey_label == IGNORE_INDEX).all())


def test_each_source_gives_its_share_and_its_own_samples() -> None:
    pairs = main()
    mixed = MixedPairs(pairs, [video()])
    unlabelled = [number for number in range(400) if is_unlabelled(mixed, number)]
    assert 70 <= len(unlabelled) <= 130
    number = next(n for n in range(400) if n not in unlabelled)
    assert torch.equal(mixed[number].sample.nonkey_image, pairs[number].sample.nonkey_image)
    assert mixed[number].sample.name == pairs[number].sample.name and mixed[number].number == number


def test_a_sample_is_a_function_of_seed_and_number() -> None:
    first, again = MixedPairs(main(), [video()]), MixedPairs(main(), [video()])
    numbers = list(range(20))
    assert [first[n].sample.name for n in numbers] == [again[n].sample.name for n in reversed(numbers)][::-1]
    other = MixedPairs(main(seed=4), [video()])
    assert [is_unlabelled(first, n) for n in range(60)] != [is_unlabelled(other, n) for n in range(60)]


def test_unlabelled_video_shares_a_batch_with_pairs_of_known_flow() -> None:
    made = PairDataset(FakeClips(), UniformSampling(3), None, SyntheticMotion(), num_samples=8, seed=3)
    mixed = MixedPairs(made, [video(0.5)])
    batch = collate_pairs([mixed[number] for number in range(8)])
    blank = (batch.nonkey_label == IGNORE_INDEX).flatten(1).all(1)
    assert 0 < blank.sum() < 8 and batch.flow is not None
    assert torch.equal(blank, batch.flow.isnan().flatten(1).all(1))
    assert all(offset != 0 for offset in batch.offset[blank])


def test_triplets_of_stills_and_videos_share_a_batch() -> None:
    video = PairDataset(Flowless(), TripletSampling(3), num_samples=8, seed=3)
    stills = PairSource(FakeClips(), SingleFrameSampling(triplets=True), 0.5, motion=SyntheticMotion())
    mixed = MixedPairs(video, [stills])
    batch = collate_pairs([mixed[number] for number in range(8)])
    assert batch.after_image is not None and batch.after_flow is not None and batch.after_offset is not None
    still = torch.tensor([name.endswith("+motion") for name in batch.names])
    assert 0 < still.sum() < 8
    assert torch.equal(still, ~batch.after_flow.isnan().flatten(1).all(1))
    assert (batch.offset < 0).all() and (batch.after_offset > 0).all()


def test_pairs_and_triplets_in_one_run_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gives pairs \(FrameSampling\); expected triplets \(TripletSampling\) as of the main"):
        MixedPairs(PairDataset(FakeClips(), TripletSampling(3), num_samples=4, seed=3), [video()])
    stills = PairSource(FakeClips(), SingleFrameSampling(triplets=True), 0.5)
    with pytest.raises(ValueError, match=r"gives triplets \(SingleFrameSampling\); expected pairs \(UniformSampling\)"):
        MixedPairs(main(), [stills])


@pytest.mark.parametrize("shares", [(0.0,), (1.0,), (0.6, 0.5)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="their sum below 1"):
        MixedPairs(main(), [video(share) for share in shares])


def test_a_configured_source_keeps_its_objects():
    """Hydra turns dataclass objects within a dictionary into configs, which lack the methods."""
    targets = {"sampling": "src.data.pairs.sampling.FrameSampling", "motion": "src.data.synthetic.stills.motion.SyntheticMotion"}
    node = {"_target_": "src.data.pairs.mixture.PairSource", "dataset": None, "share": 0.5}
    built = instantiate({"video": node | {name: {"_target_": target} for name, target in targets.items()}})["video"]
    assert isinstance(built.sampling, FrameSampling)
    assert isinstance(built.motion, SyntheticMotion)
