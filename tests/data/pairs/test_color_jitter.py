"""Laws of color jitter: both frames change alike, and worker and device agree."""

import numpy as np
import pytest
import torch

from src.data.pairs.color_jitter import ColorChange, ColorJitter, change_bytes, change_images
from src.data.pairs.dataset import NumberedSample, collate_pairs, finalize_batch
from src.data.pairs.transforms import PairTransform, RandomCrop, RandomHorizontalFlip
from src.data.samples import PairBatch, PairSample
from tests.data.pairs.test_transforms import COLORS, moving_sample


def test_color_jitter_changes_each_of_its_four_quantities():
    grey = PairSample(*[torch.full((3, 4, 4), 100, dtype=torch.uint8)] * 2, torch.zeros(4, 4, dtype=torch.int64), None, "grey")
    images = [ColorJitter()(grey, np.random.default_rng(d)).nonkey_image for d in range(300)]
    assert all((image == image[0, 0, 0]).all() for image in images), "grey has no hue"
    levels = np.array([int(image[0, 0, 0]) for image in images])
    assert 0.15 < (levels == 100).mean() < 0.4
    assert 30 <= levels.min() < 60 < 150 < levels.max() <= 198
    red = grey._replace(key_image=COLORS[1].view(3, 1, 1).expand(3, 4, 4))._replace(
        nonkey_image=COLORS[1].view(3, 1, 1).expand(3, 4, 4)
    )
    rotated = {tuple(ColorJitter(0, 0, 0, 0.1)(red, np.random.default_rng(d)).nonkey_image[:, 0, 0].tolist()) for d in range(100)}
    assert len(rotated) > 10
    assert {max(color) for color in rotated} == {230}
    assert {min(color) for color in rotated} <= {59, 60, 61}
    desaturated = [ColorJitter(0, 0, 0.5, 0)(red, np.random.default_rng(d)).nonkey_image[:, 0, 0].tolist() for d in range(50)]
    assert min(min(color) for color in desaturated) < 20 < 100 < max(min(color) for color in desaturated)


def test_without_strength_colors_stay():
    for draw in range(20):
        sample = ColorJitter(0, 0, 0, 0)(moving_sample(), np.random.default_rng(draw))
        assert (sample.nonkey_image.int() - moving_sample().nonkey_image.int()).abs().max() <= 8, "8-bit hue steps of 2 degrees"
        assert torch.equal(sample.flow, moving_sample().flow)


@pytest.mark.parametrize(
    "change",
    [
        ColorChange(),
        ColorChange(shift=-30.0),
        ColorChange(contrast=1.4, contrast_first=False),
        ColorChange(saturation=1.5),
        ColorChange(saturation=0.5),
        ColorChange(hue=0.1),
        ColorChange(25.0, 0.6, True, 1.3, -0.07),
        ColorChange(-25.0, 1.4, False, 0.7, 0.08),
    ],
)
def test_device_and_worker_change_colors_alike(change):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    found = change_images(batch, [change])[0].permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(found - change_bytes(pixels, change))
    assert difference.max() <= 14, "8-bit hue steps of 2 degrees, scaled by contrast"
    assert difference.mean() < 1.5
    if change == ColorChange():
        assert difference.max() == 0
    else:
        assert np.abs(found - pixels).mean() > 5, "the law could not fail"


def make_batch(numbers):
    images = torch.stack([moving_sample().nonkey_image] * len(numbers))
    labels, numbers = torch.zeros(images[:, 0].shape, dtype=torch.int64), torch.tensor(numbers)
    return PairBatch(images, images.clone(), labels, None, torch.zeros_like(numbers), numbers, ["n"] * len(numbers))


def test_on_the_device_a_draw_is_a_function_of_seed_and_sample():
    jitter = ColorJitter(where="device")
    whole, part = jitter.apply_to_batch(make_batch(range(20)), seed=3), jitter.apply_to_batch(make_batch([7]), seed=3)
    assert torch.equal(whole.key_image, whole.nonkey_image), "both frames change alike"
    triplets = make_batch(range(20))._replace(after_image=moving_sample().key_image.repeat(20, 1, 1, 1))
    other = make_batch(range(20))._replace(key_image=triplets.after_image)
    found, expected = (jitter.apply_to_batch(batch, seed=3) for batch in (triplets, other))
    assert torch.equal(found.after_image, expected.key_image) and torch.equal(found.key_image, whole.key_image)
    assert torch.equal(whole.key_image[7], part.key_image[0])
    assert len({tuple(image[:, 5, 5].tolist()) for image in whole.key_image}) > 12
    assert not torch.equal(jitter.apply_to_batch(make_batch(range(20)), seed=4).key_image, whole.key_image)


def test_other_draws_do_not_depend_on_where_colors_change():
    def transform(on, strength):
        jitter = ColorJitter(32 * strength, 0.5 * strength, 0, 0, where=on)
        return PairTransform([RandomCrop((44, 60)), jitter, RandomHorizontalFlip()])

    for draw in range(20):
        left, plain = (transform(*how)(moving_sample(), np.random.default_rng(draw)) for how in (("device", 1), ("worker", 0)))
        assert torch.equal(left.nonkey_image, plain.nonkey_image) and torch.equal(left.flow, plain.flow)
    batch = make_batch(range(4))
    assert not torch.equal(transform("device", 1).apply_to_batch(batch, seed=3).key_image, batch.key_image)
    assert transform("worker", 1).apply_to_batch(batch, seed=3) is batch
    with pytest.raises(ValueError, match="color jitter on 'gpu'"):
        ColorJitter(where="gpu")


def test_frames_of_a_clip_change_each_or_alike() -> None:
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    label = torch.zeros(8, 8, dtype=torch.uint8)
    sample = PairSample(image, image, label, None, "still", between_images=(image, image), reference_labels=(label,) * 3)
    for per_frame, expected in ((False, 1), (True, 4)):
        found = ColorJitter(per_frame=per_frame)(sample, np.random.default_rng(3))
        frames = (found.key_image, *found.between_images, found.nonkey_image)
        assert len({frame.numpy().tobytes() for frame in frames}) == expected
        batch = finalize_batch(collate_pairs([NumberedSample(sample, 3), NumberedSample(sample, 4)]))
        changed = ColorJitter(where="device", per_frame=per_frame).apply_to_batch(batch, 0)
        assert changed.between_images is not None
        frames = (changed.key_image, *changed.between_images.unbind(1), changed.nonkey_image)
        assert len({frame[0].numpy().tobytes() for frame in frames}) == expected
