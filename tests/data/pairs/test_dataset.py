"""Laws of pair data sets: a sample is a function of seed and number, and batches keep it."""

import re

import numpy as np
import pytest
import torch

from src.data.datasets.vspw import VSPW
from src.data.pairs.dataset import NumberedSample, PairDataset, collate_pairs, finalize_batch
from src.data.pairs.sampling import ClipSampling, FixedOffsetSampling, SingleFrameSampling, TripletSampling, UniformSampling
from src.data.pairs.transforms import RandomCrop
from src.data.samples import PairSample
from src.files.images.readers import CorruptFileError
from tests.data.fake_layouts import write_image, write_vspw
from tests.inference.tiny import FakeClips


@pytest.fixture
def data(tmp_path):
    return VSPW(write_vspw(tmp_path, {"long": [f"{i:03d}" for i in range(12)], "single": ["0"]}), "train", num_classes=12)


def same(one: NumberedSample, two: NumberedSample) -> bool:
    return one[1:] == two[1:] and all(torch.equal(a, b) for a, b in zip(one.sample[:3], two.sample[:3], strict=True))


def test_label_and_offset_match_the_frames(data):
    for number in range(26):
        sample, same_number, _ = PairDataset(data, UniformSampling(5), num_samples=26, seed=0)[number]
        key, nonkey = int(sample.key_image[0, 0, 0]), int(sample.nonkey_image[0, 0, 0])
        assert same_number == number
        assert abs((key - nonkey) - sample.offset) <= 2, "frame number = grey value, up to JPEG"
        assert sample.name.endswith(f"->{int(sample.nonkey_label[0, 8])}"), "the label is the non-key frame's"
        assert sample.flow is None


def test_a_single_frame_is_decoded_once(data):
    sample = PairDataset(data, SingleFrameSampling(), num_samples=3, seed=0)[0].sample
    assert sample.key_image is sample.nonkey_image
    assert sample.offset == 0


def test_a_raised_error_does_not_desynchronise_the_next_pair(data):
    class Failing(RandomCrop):
        fail = False

        def __call__(self, sample, rng):
            rng.random()
            if self.fail:
                raise RuntimeError("broken file")
            return super().__call__(sample, rng)

    transform = Failing((6, 6))
    undisturbed = [PairDataset(data, UniformSampling(5), transform, num_samples=20, seed=0)[n] for n in range(20)]
    pairs = PairDataset(data, UniformSampling(5), transform, num_samples=20, seed=0)
    for number in range(20):
        transform.fail = number % 3 == 1
        if transform.fail:
            with pytest.raises(RuntimeError, match="broken file"):
                pairs[number]
        else:
            assert same(pairs[number], undisturbed[number])


def test_a_damaged_file_is_an_error_or_its_sample_is_replaced(data, caplog):
    sound = [PairDataset(data, UniformSampling(5), RandomCrop((6, 6)), num_samples=40, seed=0)[n] for n in range(40)]
    damaged = data.clips[0].images[4]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    pairs = PairDataset(data, UniformSampling(5), RandomCrop((6, 6)), num_samples=40, seed=0, on_corrupt="skip")
    replaced = [n for n in range(40) if not same(pairs[n], sound[n])]
    assert 3 < len(replaced) < 20
    strict = PairDataset(data, UniformSampling(5), RandomCrop((6, 6)), num_samples=40, seed=0)
    for number in replaced:
        with pytest.raises(CorruptFileError, match=r"004\.jpg cannot be decoded"):
            strict[number]
        item = pairs[number]
        assert item.number == number and item.skipped and all("004.jpg" in message for message in item.skipped)
        assert f"sample {number} is replaced" in caplog.text
    # Drawn from the sample number: replacements differ, and do not depend on earlier reads or the length of the run.
    longer = PairDataset(data, UniformSampling(5), RandomCrop((6, 6)), num_samples=90, seed=0, on_corrupt="skip")
    assert all(same(longer[number], pairs[number]) for number in reversed(replaced))
    assert len({pairs[number].sample.name for number in replaced}) > 2
    batch = collate_pairs([pairs[number] for number in range(40)])
    assert batch.sample_id.tolist() == list(range(40))
    assert [number for number, _ in batch.skipped] == sorted(n for n in replaced for _ in pairs[n].skipped)


def test_skipping_ends_if_no_file_can_be_read(data):
    for path in {path for clip in data.clips for path in clip.images}:
        path.write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"is empty \(0 bytes\)"):
        PairDataset(data, UniformSampling(5), num_samples=9, seed=0, on_corrupt="skip")[0]
    with pytest.raises(ValueError, match="on_corrupt='ignore'; expected one of raise, skip"):
        PairDataset(data, UniformSampling(5), num_samples=9, seed=0, on_corrupt="ignore")


def test_other_errors_are_not_skipped(data):
    data.clips[0].images[4].unlink()
    pairs = PairDataset(data, FixedOffsetSampling(0), num_samples=13, seed=0, on_corrupt="skip")
    with pytest.raises(FileNotFoundError, match=r"004\.jpg does not exist"):
        [pairs[number] for number in range(13)]


def test_draws_of_the_motion_do_not_change_those_of_the_transform(data):
    first_draws = []

    def transform(sample, rng):
        first_draws.append(rng.random())
        return RandomCrop((6, 6))(sample, rng)

    class Motion:
        def __init__(self, draws):
            self.draws = draws

        def __call__(self, image, label, rng, triplet):
            first_draws.append(rng.random(self.draws)[0])
            return PairSample(image, image.flip(-1), label, torch.full((2, *label.shape), 1.5), "made")

    def crop(draws):
        return PairDataset(data, UniformSampling(5), transform, Motion(draws), num_samples=9, seed=3)[4]

    assert same(crop(1), crop(7))
    assert first_draws[0] != first_draws[1], "motion and transform share a random stream"
    assert crop(1).sample.offset == 0
    assert crop(1).sample.flow.shape == (2, 6, 6)
    assert crop(1).sample.name.endswith("+motion")


def test_flow_is_read_from_nonkey_to_key(data, monkeypatch):
    asked = []
    monkeypatch.setattr(data, "read_flow", lambda clip, nonkey, key: asked.append((nonkey, key)))
    item = PairDataset(data, FixedOffsetSampling(-1), num_samples=26, seed=0)[3]
    (nonkey, key) = asked[0]
    assert key - nonkey == item.sample.offset


def test_frames_of_different_size_are_refused(data):
    write_image(data.clips[0].images[4], size=(10, 16))
    pairs = PairDataset(data, FixedOffsetSampling(-1), num_samples=13, seed=0)
    with pytest.raises(ValueError, match=r"long/4->5: key frame 4 is \(3, 10, 16\); expected \(3, 12, 16\)"):
        [
            pairs[n]
            for n in range(13)
            if data.clips[(p := pairs.sampling.sample(data.clips, n, 0)).clip].name == "long" and p.nonkey == 5
        ]


def test_a_triplet_has_a_key_frame_on_either_side(data, monkeypatch):
    asked = []
    monkeypatch.setattr(data, "read_flow", lambda clip, nonkey, key: asked.append((nonkey, key)) or torch.zeros(2, 12, 16))
    for number in range(20):
        asked.clear()
        item = PairDataset(data, TripletSampling(5), num_samples=20, seed=0)[number]
        sample = item.sample
        values = [int(image[0, 0, 0]) for image in (sample.key_image, sample.nonkey_image, sample.after_image)]
        key, nonkey, after = (int(part) for part in re.fullmatch(r"long/(\d+)->(\d+)<-(\d+)", sample.name).groups())
        assert values == pytest.approx([key, nonkey, after], abs=2), "frame number = grey value, up to JPEG"
        assert key < nonkey < after and nonkey == int(sample.nonkey_label[0, 8])
        assert (sample.offset, sample.after_offset) == (key - nonkey, after - nonkey)
        assert asked == [(nonkey, key), (nonkey, after)] and sample.after_flow is not None
    batch = collate_pairs([item, item._replace(sample=sample._replace(after_offset=9))])
    assert batch.after_offset.tolist() == [after - nonkey, 9] and batch.after_flow.shape == (2, 2, 12, 16)
    assert torch.equal(batch.after_image[0], sample.after_image) and not batch.after_image.is_contiguous()
    assert torch.equal(finalize_batch(batch).after_image, batch.after_image) and finalize_batch(batch).after_image.is_contiguous()


def test_a_damaged_or_differing_frame_after_is_an_error_or_replaced(data):
    damaged = data.clips[0].images[11]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    triplets = PairDataset(data, TripletSampling(5), num_samples=40, seed=0, on_corrupt="skip")
    items = [triplets[number] for number in range(40)]
    assert 1 < sum("011.jpg" in message for item in items for message in item.skipped) < 20
    assert not any(item.sample.name.endswith("<-11") for item in items)
    write_image(damaged, size=(10, 16))
    strict = PairDataset(data, TripletSampling(5), num_samples=40, seed=0)
    with pytest.raises(ValueError, match=r"<-11: key frame 11 is \(3, 10, 16\); expected \(3, 12, 16\) of the non-key frame"):
        [strict[number] for number in range(40)]


def test_synthetic_motion_gives_triplets_if_the_sampling_does(data):
    asked = []

    def motion(image, label, rng, triplet):
        asked.append(triplet)
        return PairSample(image, image, label, None, "made", after_image=image if triplet else None)

    for triplets in (False, True):
        sampling = SingleFrameSampling(triplets)
        item = PairDataset(data, sampling, motion=motion, num_samples=3, seed=0, samples_per_pair=2)[1]
        assert asked.pop() is triplets and (item.sample.after_image is not None) == triplets
        assert (collate_pairs([item]).after_offset is not None) == triplets


def test_numbers_outside_the_run_end_iteration(data):
    pairs = PairDataset(data, SingleFrameSampling(), num_samples=3, seed=0)
    assert len(list(pairs)) == len(pairs) == 3
    with pytest.raises(IndexError):
        pairs[-1]
    with pytest.raises(ValueError, match="num_samples=0"):
        PairDataset(data, SingleFrameSampling(), num_samples=0, seed=0)


def item(number, size=(4, 6), flow=False):
    image = torch.full((3, *size), number, dtype=torch.uint8)
    return NumberedSample(
        PairSample(image, image + 1, torch.full(size, number), torch.zeros(2, *size) if flow else None, f"n{number}", -number),
        number,
    )


def test_batches_keep_order_and_numbers():
    batch = collate_pairs([item(5), item(2)])
    assert batch.sample_id.tolist() == [5, 2]
    assert batch.offset.tolist() == [-5, -2]
    assert batch.names == ["n5", "n2"]
    assert batch.key_image[:, 0, 0, 0].tolist() == [5, 2]
    assert batch.nonkey_image[:, 0, 0, 0].tolist() == [6, 3]
    assert batch.nonkey_label[:, 0, 0].tolist() == [5, 2]
    assert batch.flow is None
    assert collate_pairs([item(0, flow=True)] * 2).flow.shape == (2, 2, 4, 6)


def test_samples_that_cannot_be_stacked_are_named():
    with pytest.raises(ValueError, match=r"differ in size \(n0: 4x6, n1: 5x6\)"):
        collate_pairs([item(0), item(1, size=(5, 6))])
    with pytest.raises(ValueError, match=r"1 of 2 samples have flow and n0 has none"):
        collate_pairs([item(0), item(1, flow=True)])
    triplet = item(1)._replace(sample=item(1).sample._replace(after_image=item(1).sample.key_image))
    with pytest.raises(ValueError, match=r"1 of 2 samples have a second key frame and n0 has none; expected all or none"):
        collate_pairs([triplet, item(0)])


def test_samples_depend_on_the_seed(data):
    def ids(seed):
        return [PairDataset(data, UniformSampling(5), num_samples=26, seed=seed)[n].sample.name for n in range(13)]

    assert ids(1) == ids(1) != ids(2)
    assert np.all([name.count("->") == 1 for name in ids(1)])


@pytest.mark.parametrize("label_type", [torch.uint8, torch.int64])
def test_batches_keep_bytes_until_they_are_finalized_on_the_device(label_type):
    pixels = torch.arange(2 * 5 * 6 * 3, dtype=torch.uint8).view(2, 5, 6, 3)
    images = [p.permute(2, 0, 1)[:, 1:, 1:] for p in pixels]
    samples = [
        NumberedSample(PairSample(i, i.contiguous(), torch.full((4, 5), 254, dtype=label_type), None, "n"), 0) for i in images
    ]
    batch = collate_pairs(samples)
    assert batch.key_image.permute(0, 2, 3, 1).is_contiguous() and batch.nonkey_label.dtype == label_type
    finalized = finalize_batch(batch)
    for found in (batch, finalized):
        assert torch.equal(found.key_image, torch.stack(images)) and torch.equal(found.nonkey_image, found.key_image)
        assert found.nonkey_label.unique().tolist() == [254]
    assert finalized.key_image.is_contiguous() and finalized.nonkey_image.is_contiguous()
    assert finalized.nonkey_label.dtype == torch.int64


def test_samples_of_one_pair_differ_only_by_the_transform(data):
    class Motion:
        made = 0

        def __call__(self, image, label, rng, triplet):
            self.made += 1
            return PairSample(image, image, label + int(rng.integers(1000)), None, "made")

    def pairs(samples_per_pair: int, transform=None) -> PairDataset:
        sampling = SingleFrameSampling()
        return PairDataset(data, sampling, transform, motion, num_samples=12, seed=0, samples_per_pair=samples_per_pair)

    motion = Motion()
    single, shared = pairs(1), pairs(3)
    expected = [single[number // 3].sample.nonkey_label for number in range(12)]
    motion.made = 0
    found = [shared[number].sample.nonkey_label for number in range(12)]
    assert motion.made == 4
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    # A sample does not depend on earlier reads.
    assert torch.equal(shared[5].sample.nonkey_label, expected[5]) and torch.equal(shared[1].sample.nonkey_label, expected[1])
    cropped = pairs(3, lambda sample, rng: sample._replace(name=str(rng.integers(10**9))))
    assert len({cropped[number].sample.name for number in range(12)}) == 12


def test_a_clip_has_the_frames_and_labels_of_its_references():
    data = FakeClips((12, 10), unlabelled=frozenset({3}))
    pairs = PairDataset(data, ClipSampling(reversed_probability=0.3), num_samples=60, seed=0)
    unlabelled = 0
    for number in range(60):
        item = pairs[number]
        name, frames = item.sample.name.split("/")
        indices = [int(frame) for frame in frames.split("->")]
        clip = int(name.removeprefix("clip"))
        assert len(indices) == 4 and abs(indices[3] - indices[0]) == 9
        images = (item.sample.key_image, *item.sample.between_images, item.sample.nonkey_image)
        assert all(torch.equal(image, data.images[clip][frame]) for image, frame in zip(images, indices, strict=True))
        for label, frame in zip((*item.sample.reference_labels, item.sample.nonkey_label), indices, strict=True):
            unlabelled += frame == 3
            expected = torch.full_like(label, 255) if frame == 3 else data.read_label(clip, frame, torch.uint8)
            assert torch.equal(label, expected)
    assert unlabelled
    batch = finalize_batch(collate_pairs([pairs[0], pairs[1]]))
    assert batch.between_images.shape == (2, 2, 3, 40, 56)
    assert batch.reference_labels.shape == (2, 3, 40, 56) and batch.reference_labels.dtype == torch.int64
    with pytest.raises(ValueError, match=r"1 of 2 samples have frames between"):
        collate_pairs([pairs[0], pairs[1]._replace(sample=pairs[1].sample._replace(between_images=()))])
