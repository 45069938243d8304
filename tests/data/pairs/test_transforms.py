"""Laws of pair transforms: frames, label and flow stay aligned."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.data.pairs.color_jitter import ColorJitter
from src.data.pairs.transforms import (
    Pad,
    PairTransform,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShortSide,
    ResizedCrop,
    ResizeShortSide,
    ScaleJitter,
)
from src.data.samples import PairSample
from src.ops.warp import warp
from src.structures import IGNORE_INDEX

SIZE = (60, 80)
GEOMETRY = {
    "scale": ScaleJitter(0.5, 2.0),
    "short side": RandomShortSide((40, 60, 90), max_long_side=110),
    "evaluation size": ResizeShortSide(48, 70),
    "crop": RandomCrop((40, 50)),
    "crop with padding": RandomCrop((70, 50)),
    "flip": RandomHorizontalFlip(),
    "all": PairTransform([ScaleJitter(0.5, 2.0), RandomCrop((44, 60)), RandomHorizontalFlip()]),
}
ALL = GEOMETRY | {
    "color": ColorJitter(),
    "all with color": PairTransform([ScaleJitter(0.5, 2.0), RandomCrop((44, 60)), RandomHorizontalFlip(), ColorJitter()]),
}
COLORS = torch.tensor([[20, 200, 40], [230, 60, 90], [100, 120, 250]], dtype=torch.uint8)


def each(transforms):
    return pytest.mark.parametrize("transform", transforms.values(), ids=transforms.keys())


def make_sample(flow=None):
    label = torch.zeros(SIZE, dtype=torch.int64)
    label[10:40, 20:60] = 1
    label[30:, 45:] = 2
    image = COLORS[label].permute(2, 0, 1).contiguous()
    return PairSample(image, image.clone(), label, flow, "pair")


def pattern(x, y):
    """A smooth picture at real-valued positions."""
    return torch.stack([128 + 90 * torch.sin(x / a + b) * torch.cos(y / a - b) for a, b in ((7, 0.0), (9, 1.0), (11, 2.0))])


def moving_sample(unknown=False):
    """The non-key frame shows the key frame displaced by a smooth flow that is known exactly."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]).float(), torch.arange(SIZE[1]).float(), indexing="ij")
    flow = torch.stack((3.5 + 0.02 * (y - 30), -2.0 - 0.03 * (x - 40)))
    key, nonkey = pattern(x, y).round().to(torch.uint8), pattern(x + flow[0], y + flow[1]).round().to(torch.uint8)
    if unknown:
        flow[:, 12:25, 30:50] = float("nan")
    return PairSample(key, nonkey, torch.zeros(SIZE, dtype=torch.int64), flow, "pair")


def warp_error(sample):
    """(mean error of warping the key frame in grey levels, share of pixels where that is defined)."""
    height, width = sample.nonkey_image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # The padding of a crop is black; vectors that leave the crop point into it.
    seen = (sample.key_image.sum(0) > 0) & (sample.nonkey_image.sum(0) > 0)
    top, bottom = seen.any(1).nonzero().aminmax()
    left, right = seen.any(0).nonzero().aminmax()
    target_x, target_y = x + sample.flow[0], y + sample.flow[1]
    inside = (target_x >= left) & (target_x <= right) & (target_y >= top) & (target_y <= bottom) & seen
    warped = warp(sample.key_image[None].float(), sample.flow.nan_to_num()[None])[0]
    return (warped - sample.nonkey_image).abs().mean(0)[inside].mean().item(), inside.float().mean().item()


@each(ALL)
def test_the_same_image_as_key_and_nonkey_stays_equal(transform):
    changed = 0
    for draw in range(100):
        sample = transform(make_sample(), np.random.default_rng(draw))
        assert torch.equal(sample.key_image, sample.nonkey_image)
        assert sample.nonkey_image.shape[-2:] == sample.nonkey_label.shape
        assert sample.nonkey_image.dtype == torch.uint8
        changed += not torch.equal(sample.nonkey_image, make_sample().nonkey_image)
    assert changed > 30


@each(ALL)
def test_a_transform_is_a_function_of_sample_and_generator(transform):
    one, two, other = (transform(moving_sample(True), np.random.default_rng(draw)) for draw in (1, 1, 2))
    for field in ("key_image", "nonkey_image", "nonkey_label"):
        assert torch.equal(getattr(one, field), getattr(two, field))
    assert torch.equal(one.flow.nan_to_num(9e9), two.flow.nan_to_num(9e9))
    assert other.name == "pair"


@each(GEOMETRY)
def test_the_label_follows_the_image(transform):
    for draw in range(20):
        sample = transform(make_sample(), np.random.default_rng(draw))
        label = sample.nonkey_label
        # Resizing blends colors next to a boundary: compare where the label is constant around the pixel.
        wide = F.pad(label[None, None].float(), (2, 2, 2, 2), value=-1)
        constant = (F.max_pool2d(wide, 5, stride=1) == -F.max_pool2d(-wide, 5, stride=1))[0, 0] & (label != IGNORE_INDEX)
        expected = COLORS[label.clamp(max=2)].permute(2, 0, 1)
        assert constant.float().mean() > 0.2
        assert torch.equal(sample.nonkey_image[:, constant], expected[:, constant])


@each(GEOMETRY)
@pytest.mark.parametrize("unknown", [False, True])
def test_the_flow_follows_the_frames(transform, unknown):
    for draw in range(20):
        sample = transform(moving_sample(unknown), np.random.default_rng(draw))
        error, share = warp_error(sample)
        assert error < 1.5, f"draw {draw}"
        assert share > 0.3
        wrong = sample._replace(flow=sample.flow * 1.3)
        assert warp_error(wrong)[0] > 2.5 * error, "the law could not fail"


@each(ALL)
def test_both_key_frames_of_a_triplet_change_alike(transform):
    pair = moving_sample(True)
    y, x = torch.meshgrid(torch.arange(SIZE[0]).float(), torch.arange(SIZE[1]).float(), indexing="ij")
    after_flow = torch.stack((-2.0 + 0.03 * (x - 40), 3.0 - 0.02 * (y - 30)))
    after_flow[:, :20, 60:] = float("nan")
    other = pair._replace(key_image=pair.nonkey_image.flip(-2).contiguous(), flow=after_flow)
    triplet = pair._replace(after_image=other.key_image, after_flow=after_flow)
    changed = 0
    for draw in range(20):
        found, *expected = (transform(sample, np.random.default_rng(draw)) for sample in (triplet, pair, other))
        for field in ("key_image", "nonkey_image", "nonkey_label", "flow"):
            assert torch.equal(getattr(found, field).nan_to_num(9e9), getattr(expected[0], field).nan_to_num(9e9)), field
        assert torch.equal(found.after_image, expected[1].key_image)
        assert torch.equal(found.after_flow.nan_to_num(9e9), expected[1].flow.nan_to_num(9e9))
        changed += not torch.equal(found.after_image, triplet.after_image)
    assert changed > 5
    mirrored = RandomHorizontalFlip(1.0)(triplet, np.random.default_rng(0))
    assert torch.equal(mirrored.after_flow[0].nan_to_num(9e9), -after_flow[0].flip(-1).nan_to_num(-9e9))
    assert torch.equal(mirrored.after_flow[1].nan_to_num(9e9), after_flow[1].flip(-1).nan_to_num(9e9))


def test_unknown_flow_stays_unknown():
    sample = PairTransform([ScaleJitter(2.0, 2.0), RandomHorizontalFlip(1.0)])(
        moving_sample(unknown=True), np.random.default_rng(0)
    )
    unknown = sample.flow.isnan().all(0)
    assert unknown[24:50, 160 - 100 : 160 - 60].all()
    assert unknown.sum() == 26 * 40


def test_crops_pad_what_is_too_small_and_reach_every_place():
    sample = RandomCrop((70, 100))(moving_sample(), np.random.default_rng(0))
    for padding in (np.s_[..., 60:, :], np.s_[..., 80:]):
        assert (sample.key_image[padding] == 0).all()
        assert (sample.nonkey_label[padding] == IGNORE_INDEX).all()
        assert sample.flow[padding].isnan().all()
    assert torch.equal(sample.nonkey_image[:, :60, :80], moving_sample().nonkey_image)
    numbered = make_sample()._replace(nonkey_label=torch.arange(60 * 80).view(SIZE))
    corners = {int(RandomCrop((57, 78))(numbered, np.random.default_rng(d)).nonkey_label[0, 0]) for d in range(200)}
    assert corners == {80 * top + left for top in range(4) for left in range(3)}


def test_bad_scales_are_refused():
    with pytest.raises(ValueError, match=r"scale jitter 0\.0\.\.2\.0"):
        ScaleJitter(0.0, 2.0)


def coordinates():
    """A pair whose pixels encode their position: the images in steps of 3 and 4 levels a pixel, the label in whole pixels."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    image = torch.stack((3 * x, 4 * y, 0 * x + 7)).to(torch.uint8)
    return PairSample(image, image.clone(), (y * SIZE[1] + x).to(torch.int16), None, "pair")


@pytest.mark.parametrize("flips", [[], [RandomHorizontalFlip()]])
@pytest.mark.parametrize("resize", [ScaleJitter(0.5, 2.0), RandomShortSide((40, 60, 90), 110), ResizeShortSide(97, 120)])
def test_a_resized_crop_is_within_half_a_pixel_of_resize_crop_and_flip(resize, flips):
    sample = coordinates()
    joined = PairTransform([resize, RandomCrop((30, 38)), *flips])
    assert [type(step) for step in joined.steps] == [ResizedCrop]
    displacements = []
    for draw in range(60):
        rng = np.random.default_rng(draw)
        expected = RandomCrop((30, 38))(resize(sample, rng), rng)
        for flip in flips:
            expected = flip(expected, rng)
        found = joined(sample, np.random.default_rng(draw))
        assert torch.equal(found.key_image, found.nonkey_image)
        # Each of the two 8-bit values differs by at most one level.
        apart = (found.nonkey_image.float() - expected.nonkey_image.float()).abs() - 1
        apart = torch.stack((apart[0] / 3, apart[1] / 4))
        assert apart[:, 1:-1, 1:-1].max() <= 0.5, draw
        # Pixels beyond the edge are not blended in.
        assert apart.max() <= 1, draw
        displacements.append(apart.max())
        places = [torch.stack((s.nonkey_label % SIZE[1], s.nonkey_label // SIZE[1])).int() for s in (found, expected)]
        assert (places[0] - places[1]).abs().max() <= 1, draw
    assert max(displacements) > 0.2 or isinstance(resize, ResizeShortSide), "the law could not fail"


@pytest.mark.parametrize("resize", [ResizeShortSide(60), ScaleJitter(0.4, 0.8), ScaleJitter(1.1, 1.3)])
def test_a_resized_crop_of_whole_pixels_equals_resize_crop_and_flip(resize):
    """Without a resize, and with the whole frame visible."""
    noise = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    sample = moving_sample(True)._replace(
        key_image=noise[0], nonkey_image=noise[1], nonkey_label=torch.randint(0, 9, SIZE, dtype=torch.uint8)
    )
    crop, flip = RandomCrop((50, 70) if isinstance(resize, ResizeShortSide) else (78, 104)), RandomHorizontalFlip()
    mirrored = 0
    for draw in range(20):
        rng = np.random.default_rng(draw)
        expected = flip(crop(resize(sample, rng), rng), rng)
        found = PairTransform([resize, crop, flip])(sample, np.random.default_rng(draw))
        for field in ("key_image", "nonkey_image", "nonkey_label"):
            assert torch.equal(getattr(found, field), getattr(expected, field)), (draw, field)
        assert torch.equal(found.flow.nan_to_num(9e9), expected.flow.nan_to_num(9e9))
        mirrored += not torch.equal(
            found.nonkey_image, PairTransform([resize, crop])(sample, np.random.default_rng(draw)).nonkey_image
        )
    assert 5 < mirrored < 15
    assert torch.equal(sample.key_image, noise[0]), "mirrored in place"


def test_crops_are_drawn_again_until_no_class_covers_most_of_them():
    """Of the label's left quarter, one class; right of it, stripes of two."""
    label = torch.zeros(64, 64, dtype=torch.uint8)
    label[::2, 16:] = 1
    label[:, 16:24] = IGNORE_INDEX
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    sample = PairSample(image, image, label, None, "stripes")

    def largest(crop, seed):
        found = crop(sample, np.random.default_rng(seed)).nonkey_label
        counts = torch.bincount(found[found != IGNORE_INDEX].int(), minlength=2)
        return float(counts.max() / counts.sum())

    assert max(largest(RandomCrop((12, 12)), seed) for seed in range(100)) == 1
    assert max(largest(RandomCrop((12, 12), max_class_share=0.75), seed) for seed in range(100)) < 0.75
    # Ten draws, then the last one is taken.
    one_class = sample._replace(nonkey_label=torch.zeros(64, 64, dtype=torch.uint8))
    assert RandomCrop((12, 12), max_class_share=0.75)(one_class, np.random.default_rng(0)).nonkey_label.shape == (12, 12)
    with pytest.raises(ValueError, match="max_class_share is 0; expected above 0"):
        RandomCrop((12, 12), max_class_share=0)


def test_small_frames_of_a_clip_are_padded_with_a_color_after_all_else():
    image, label = torch.full((3, 20, 30), 200, dtype=torch.uint8), torch.ones(20, 30, dtype=torch.uint8)
    sample = PairSample(image, image, label, None, "clip", between_images=(image,), reference_labels=(label, label))
    steps = [ScaleJitter(1, 1), RandomCrop((24, 24), pad=False), RandomHorizontalFlip(1.0), Pad((24, 24), (124, 116, 104))]
    padded = PairTransform(steps)(sample, np.random.default_rng(0))
    for found in (padded.key_image, padded.nonkey_image, *padded.between_images):
        assert found.shape == (3, 24, 24) and (found[:, :20] == 200).all()
        assert (found[:, 20:] == torch.tensor([124, 116, 104]).view(3, 1, 1)).all()
    for found in (padded.nonkey_label, *padded.reference_labels):
        assert (found[:20] == 1).all() and (found[20:] == IGNORE_INDEX).all()


@each(GEOMETRY)
def test_all_frames_and_labels_of_a_clip_are_treated_alike(transform):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, *SIZE), dtype=np.uint8))
    label = torch.from_numpy(rng.integers(0, 3, SIZE, dtype=np.uint8))
    sample = PairSample(image.clone(), image, label, None, "clip", 0, between_images=(image.clone(),) * 2,
                        reference_labels=(label.clone(),) * 3)  # fmt: skip
    found = transform(sample, np.random.default_rng(1))
    assert all(torch.equal(one, found.nonkey_image) for one in (found.key_image, *found.between_images))
    assert all(torch.equal(one, found.nonkey_label) for one in found.reference_labels)


def test_scale_jitter_multiplies_the_size_within_limits():
    jitter = ScaleJitter(0.5, 2.0, short_side=480, max_long_side=853)
    rng = np.random.default_rng(0)
    sizes = [jitter.draw_size((720, 1280), rng) for _ in range(200)]
    assert min(sizes)[0] in range(240, 250) and max(sizes)[0] in range(945, 961)
    assert all(abs(width / height - 853 / 480) < 0.01 for height, width in sizes)
    # Of a wide frame, the long side decides.
    assert all(width <= 1706 for _, width in (jitter.draw_size((480, 1137), rng) for _ in range(50)))
