"""Laws of resizing: limits, nearest pixels, windows, and unknown flow."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.geometry.transform import resize

from src.ops.resize import Window, resize_antialiased, resize_image, resize_nearest, resize_partial_flow, short_side_size
from src.ops.warp import resize_flow


@pytest.mark.parametrize(
    ("size", "short_side", "cap", "expected"),
    [
        ((480, 853), 480, 853, (480, 853)),
        # The paper's training sizes: whatever is drawn from 480..1920, the cap of 960 leaves these two.
        ((480, 853), 480, 960, (480, 853)),
        ((480, 853), 1920, 960, (540, 960)),
        ((1080, 1920), 576, 960, (540, 960)),
        ((853, 480), 240, None, (427, 240)),
        ((10, 1000), 2, 50, (1, 50)),
        ((1080, 1920), 480, 853, (480, 853)),
        ((720, 960), 480, 853, (480, 640)),
        ((1000, 3000), 480, 853, (284, 853)),
        ((240, 426), 480, 853, (480, 852)),
        # A half is rounded up.
        ((853, 1706), None, 853, (427, 853)),
        # Without a short side nothing grows.
        ((100, 200), None, 853, (100, 200)),
        ((97, 131), None, None, (97, 131)),
        ((1, 5000), None, 100, (1, 100)),
    ],
)
def test_the_short_side_is_met_unless_the_long_one_would_be_too_long(size, short_side, cap, expected):
    assert short_side_size(size, short_side, cap) == expected
    assert short_side_size(size[::-1], short_side, cap) == expected[::-1]
    assert short_side_size(expected, short_side, cap) == expected


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (13, 21), (24, 32), (12, 16), (1, 1)])
def test_nearest_is_the_one_of_the_half_pixel_grid(size):
    x = torch.randint(0, 200, (12, 16))
    expected = F.interpolate(x[None, None].double(), size=size, mode="nearest-exact")[0, 0].long()
    assert torch.equal(resize_nearest(x, size), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_nearest_takes_the_nearest_center_and_of_two_the_second(dtype):
    for source, target in np.random.default_rng(0).integers(1, 200, (300, 2)).tolist():
        x = torch.arange(source).to(dtype)
        expected = (2 * np.arange(target) + 1) * source // (2 * target)
        assert resize_nearest(x[None], (1, target))[0].tolist() == x[expected].tolist(), (source, target)
        assert resize_nearest(x[:, None], (target, 1))[:, 0].tolist() == x[expected].tolist(), (source, target)


def test_enlarging_an_image_equals_kornias_resize():
    image = torch.randint(0, 256, (3, 12, 16), dtype=torch.uint8)
    expected = resize(image[None].float(), (30, 41), align_corners=False)[0]
    assert (resize_image(image, (30, 41)).float() - expected).abs().max() <= 1


def test_a_shrunk_image_keeps_its_mean():
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    shrunk = resize_image(image, (8, 12))
    assert shrunk.permute(1, 2, 0).is_contiguous()
    torch.testing.assert_close(shrunk.float().mean((1, 2)), image.float().mean((1, 2)), atol=3, rtol=0)
    assert shrunk.float().std() < image.float().std() / 3, "noise averages out with antialiasing only"


def test_a_window_is_the_same_part_on_every_grid():
    rng = np.random.default_rng(0)
    for _ in range(300):
        size, other = (tuple(rng.integers(1, 60, 2).tolist()) for _ in range(2))
        assert Window(0, 0, *size).on_grid(size, other) == Window(0, 0, *other)
        top, left = (int(rng.integers(length)) for length in size)
        window = Window(top, left, int(rng.integers(1, size[0] - top + 1)), int(rng.integers(1, size[1] - left + 1)))
        assert window.on_grid(size, size) == window
        found = window.on_grid(size, other)
        assert min(found.height, found.width) >= 1
        assert found.top >= 0 and found.top + found.height <= other[0] and found.left + found.width <= other[1]
        scale = other[0] / size[0]
        if window.height * scale >= 1:
            assert abs(found.top - window.top * scale) <= 0.5
            assert abs(found.top + found.height - (window.top + window.height) * scale) <= 0.5


def test_a_whole_flow_is_resized_as_by_resize_flow():
    flow = torch.randn(2, 12, 16)
    assert torch.equal(resize_partial_flow(flow, (24, 20)), resize_flow(flow, (24, 20)))


@pytest.mark.parametrize("size", [(24, 32), (6, 8), (9, 23)])
def test_unknown_pixels_stay_unknown_and_do_not_leak_into_known_ones(size):
    flow = torch.tensor([4.0, -2.0]).view(2, 1, 1).repeat(1, 12, 16)
    flow[:, 3:7, 5:11] = float("nan")
    resized = resize_partial_flow(flow, size)
    unknown = resized.isnan()
    assert torch.equal(unknown[0], resize_nearest(flow[0].isnan(), size))
    assert torch.equal(unknown[0], unknown[1])
    for channel, value in enumerate((4.0 * size[1] / 16, -2.0 * size[0] / 12)):
        torch.testing.assert_close(resized[channel][~unknown[channel]], torch.full((int((~unknown[channel]).sum()),), value))


@pytest.mark.parametrize("interleaved", [False, True])
def test_large_images_are_resized_channel_by_channel_to_the_same_values(
    interleaved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.randint(0, 256, (1, 97, 131, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    image = image if interleaved else image.contiguous()
    whole = resize_antialiased(image, (48, 65))
    monkeypatch.setattr("src.ops.resize._LARGE", 0)
    assert torch.equal(resize_antialiased(image, (48, 65)), whole) and whole.dtype == torch.uint8
