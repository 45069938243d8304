"""Laws of thumbnails: even times and distant peaks of a video of unknown length, in constant memory."""

import io
from itertools import pairwise

import pytest
import torch
from PIL import Image

from src.visualization.report.thumbnails import Thumbnails

PICTURE = torch.zeros(3, 30, 40, dtype=torch.uint8)


def collected(frames: int, flicker: dict[int, float]) -> Thumbnails:
    thumbnails = Thumbnails(even=4, peaks=2, apart=1.0)
    for number in range(frames):
        thumbnails.add(number / 10, PICTURE, flicker.get(number, 0.0))
    return thumbnails


@pytest.mark.parametrize("frames", [1, 3, 4, 7, 100, 1001])
def test_times_are_even_from_the_first_frame_on(frames: int) -> None:
    found = [one.number for one in collected(frames, {}).even]
    assert found[0] == 0 and len(found) == min(4, frames) and len(collected(frames, {})._kept) < 8
    if frames > 8:
        gaps = [later - earlier for earlier, later in pairwise(found)]
        assert max(gaps) <= 2 * min(gaps) and found[-1] > 0.6 * frames


def test_peaks_are_the_largest_that_are_apart() -> None:
    # Frame 21 is within a second of frame 20, which is larger.
    thumbnails = collected(100, {5: 0.1, 20: 0.5, 21: 0.4, 50: 0.3, 80: 0.2})
    assert [(one.number, one.flicker) for one in thumbnails.peaks] == [(20, 0.5), (50, 0.3)]
    grows = collected(100, {20: 0.3, 24: 0.5, 80: 0.1})
    assert [one.number for one in grows.peaks] == [24, 80]


def test_without_flicker_there_is_no_peak() -> None:
    assert not collected(30, {}).peaks


def test_pictures_are_small_and_show_the_frame_and_the_one_before() -> None:
    thumbnails = Thumbnails()
    red, blue = (torch.zeros(3, 300, 800, dtype=torch.uint8) for _ in range(2))
    red[0], blue[2] = 255, 255
    thumbnails.add(0.0, red, None)
    thumbnails.add(0.1, blue, 0.5)
    (peak,) = thumbnails.peaks
    assert peak.size == (150, 400) and peak.before is not None
    for jpeg, channel in ((peak.jpeg, 2), (peak.before, 0)):
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.size == (400, 150)
            color = image.getpixel((200, 75))
            assert isinstance(color, tuple) and color[channel] > 240 and sum(color) < 270
