"""Laws of pair sampling: offsets within bounds, every labelled frame once per pass."""

import copy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from src.data.pairs.sampling import (
    ClipSampling,
    FixedOffsetSampling,
    FrameSampling,
    SingleFrameSampling,
    TripletSampling,
    UniformSampling,
)
from src.data.samples import FramePair
from src.structures import Clip

SAMPLINGS = [UniformSampling(4), FixedOffsetSampling(-3), SingleFrameSampling()]


def make_clip(frames, labelled=None):
    labelled = range(frames) if labelled is None else labelled
    return Clip(f"clip{frames}", (Path("i"),) * frames, tuple(Path("l") if f in labelled else None for f in range(frames)))


CLIPS = [make_clip(30), make_clip(1), make_clip(7)]


@pytest.mark.parametrize("sampling", [*SAMPLINGS, TripletSampling(5)], ids=lambda s: type(s).__name__)
def test_a_pair_is_a_function_of_seed_and_number(sampling):
    numbers = [*range(100), 10_000]
    fresh = copy.deepcopy(sampling)
    once = {n: sampling.sample(CLIPS, n, 5) for n in numbers}
    shuffled = np.random.default_rng(0).permutation(numbers)
    assert {int(n): fresh.sample(CLIPS, int(n), 5) for n in shuffled} == once
    assert {n: sampling.sample(CLIPS, n, 6) for n in numbers} != once


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: type(s).__name__)
def test_each_pass_visits_every_labelled_frame_once_in_a_new_order(sampling):
    count = sum(len(clip) for clip in CLIPS)
    passes = [[sampling.sample(CLIPS, p * count + i, 0) for i in range(count)] for p in range(3)]
    frames = {(c, f) for c, clip in enumerate(CLIPS) for f in range(len(clip))}
    if isinstance(sampling, UniformSampling):
        assert all({f for pair in one for f in ((pair.clip, pair.key), (pair.clip, pair.nonkey))} == frames for one in passes)
    else:
        assert all({(pair.clip, pair.nonkey) for pair in one} == frames for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_uniform_offsets_stay_in_bounds_reach_both_ends_and_are_even():
    sampling, clips = UniformSampling(4), [make_clip(30)]
    pairs = [sampling.sample(clips, n, 0) for n in range(3000)]
    assert all(0 <= pair.key < pair.nonkey < 30 for pair in pairs)
    assert {pair.key for pair in pairs} == set(range(29))
    assert {pair.nonkey for pair in pairs} == set(range(1, 30))
    offsets = Counter(pair.nonkey - pair.key for pair in pairs)
    assert set(offsets) == {1, 2, 3, 4}
    assert max(offsets.values()) < 1.35 * min(offsets.values())


def test_the_nonkey_frame_is_always_labelled():
    clips = [make_clip(30, labelled=(0, 5, 6, 29)), make_clip(11, labelled=(10,)), make_clip(4, labelled=(0, 3))]
    pairs = [UniformSampling(10).sample(clips, n, 1) for n in range(500)]
    assert all(pair.nonkey in clips[pair.clip].labelled_frames and pair.key <= pair.nonkey for pair in pairs)
    assert {pair.key for pair in pairs if pair.clip == 1} == set(range(10))
    assert any(pair.key not in clips[pair.clip].labelled_frames for pair in pairs)
    # Frame 0 has no earlier partner, and is paired with any later labelled frame, including the last.
    assert all(pair.key < pair.nonkey for pair in pairs)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: type(s).__name__)
def test_a_clip_of_one_frame_is_paired_with_itself(sampling):
    assert sampling.sample([make_clip(1)], 3, 0) == FramePair(0, 0, 0)


def test_a_fixed_offset_is_clamped_to_the_clip():
    clips = [make_clip(10)]
    keys = {pair.nonkey: pair.key for pair in (FixedOffsetSampling(-3).sample(clips, n, 0) for n in range(10))}
    assert keys == {f: max(f - 3, 0) for f in range(10)}
    keys = {pair.nonkey: pair.key for pair in (FixedOffsetSampling(2).sample(clips, n, 0) for n in range(10))}
    assert keys == {f: min(f + 2, 9) for f in range(10)}


@pytest.mark.parametrize("clips", [[make_clip(5, labelled=())], []])
def test_data_without_labels_is_refused(clips):
    with pytest.raises(ValueError, match=r"none of the .* clips .* has a labelled frame"):
        UniformSampling().sample(clips, 0, 0)


def test_an_offset_below_one_frame_is_refused():
    with pytest.raises(ValueError, match="max_offset=0"):
        UniformSampling(0)


def test_frames_without_labels_are_visited_with_partners_on_both_sides() -> None:
    clips = [Clip("video", tuple(Path(f"{i}.jpg") for i in range(8)), (None,) * 8)]
    pairs = [FrameSampling(2).sample(clips, number, seed=0) for number in range(400)]
    assert {pair.nonkey for pair in pairs[:8]} == set(range(8))
    assert {pair.key - pair.nonkey for pair in pairs} == {-2, -1, 1, 2}
    assert all(0 <= pair.key < 8 for pair in pairs)
    alone = [Clip("one", (Path("0.jpg"),), (None,))]
    assert FrameSampling(2).sample(alone, 0, seed=0) == FramePair(0, key=0, nonkey=0)
    with pytest.raises(ValueError, match="max_offset=0"):
        FrameSampling(0)


def test_a_triplet_is_an_interval_around_each_labelled_frame_between_two_frames(caplog: pytest.LogCaptureFixture) -> None:
    clips = [make_clip(30), make_clip(2), make_clip(4), make_clip(9, labelled=(0, 8))]
    sampling = TripletSampling(5)
    triplets = [sampling.sample(clips, n, 0) for n in range(30 * 100)]
    inside = [(0, f) for f in range(1, 29)] + [(2, 1), (2, 2)]
    assert all(sorted((t.clip, t.nonkey) for t in triplets[p * 30 : p * 30 + 30]) == inside for p in range(100))
    assert "left out: clip2, clip9" in caplog.text and caplog.text.count("left out") == 1
    assert all(t.after is not None and 0 <= t.key < t.nonkey < t.after < len(clips[t.clip]) for t in triplets)
    # Away from the ends, lengths are even, and so are places within each.
    middle = [(t.after - t.key, t.nonkey - t.key) for t in triplets if t.clip == 0 and 4 <= t.nonkey <= 25]
    lengths, places = Counter(length for length, _ in middle), Counter(middle)
    assert set(lengths) == {2, 3, 4, 5} and set(places) == {(i, p) for i in lengths for p in range(1, i)}
    assert max(lengths.values()) < 1.25 * min(lengths.values())
    assert all(abs(count * (length - 1) / lengths[length] - 1) < 0.2 for (length, _), count in places.items())
    # At the ends, the clip bounds the interval.
    assert {(t.key, t.after) for t in triplets if (t.clip, t.nonkey) == (0, 1)} == {(0, 2), (0, 3), (0, 4), (0, 5)}
    assert {(t.key, t.after) for t in triplets if (t.clip, t.nonkey) == (2, 2)} == {(1, 3), (0, 3)}


def test_stills_are_triplets_of_themselves_if_asked() -> None:
    assert SingleFrameSampling(triplets=True).sample([make_clip(1)], 3, 0) == FramePair(0, 0, 0, after=0)
    given = [sampling.triplets for sampling in (*SAMPLINGS, SingleFrameSampling(triplets=True), TripletSampling())]
    assert given == [False, False, False, True, True]


def test_clips_without_a_frame_between_two_others_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no labelled frame of clips clip2, clip5 is between two frames"):
        TripletSampling().sample([make_clip(2), make_clip(5, labelled=(4,))], 0, 0)
    with pytest.raises(ValueError, match=r"max_interval=1; expected at least 2"):
        TripletSampling(1)


def test_a_clip_is_a_frame_of_every_video_with_references_on_one_side(caplog: pytest.LogCaptureFixture) -> None:
    clips = [make_clip(30), make_clip(9), make_clip(14, labelled=(0, 3, 13)), make_clip(12, labelled=(5,))]
    sampling = ClipSampling()
    found = [sampling.sample(clips, n, 0) for n in range(2 * 1000)]
    assert all(sorted(pair.clip for pair in found[2 * p : 2 * p + 2]) == [0, 2] for p in range(1000))
    assert caplog.text.count("left out: clip9, clip12") == 1
    for sign in (1, -1):
        forward = [pair for pair in found if (pair.key < pair.nonkey) == (sign == 1)]
        assert all(
            (pair.key, *pair.between) == tuple(pair.nonkey - sign * o for o in (9, 6, 3)) and pair.after is None
            for pair in forward
        )
        assert {pair.nonkey for pair in forward if pair.clip == 0} == ({*range(9, 30)} if sign == 1 else {*range(21)})
        assert {pair.nonkey for pair in forward if pair.clip == 2} == ({13} if sign == 1 else {0, 3})
        assert 900 < len(forward) < 1100


def test_the_direction_of_clips_can_be_fixed_and_faults_are_errors() -> None:
    clips = [make_clip(12), make_clip(5, labelled=(0,))]
    sampling = ClipSampling((-4, -1)).for_validation()
    found = [sampling.sample(clips, n, 0) for n in range(40)]
    assert {(pair.nonkey - pair.key, pair.nonkey - pair.between[0]) for pair in found if pair.clip == 0} == {(4, 1)}
    # No frame of the short clip has room before it: the other direction.
    assert {(pair.key, *pair.between, pair.nonkey) for pair in found if pair.clip == 1} == {(4, 1, 0)}
    with pytest.raises(
        ValueError, match=r"no labelled frame of clips clip5 has its references \[9, 6, 3\] frames before or after"
    ):
        ClipSampling().sample([make_clip(5)], 0, 0)
    for wrong in ((), (-3, -6), (-3, 0)):
        with pytest.raises(ValueError, match="expected negative, rising"):
            ClipSampling(wrong)
    with pytest.raises(ValueError, match="reversed_probability is 2"):
        ClipSampling(reversed_probability=2)
