from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from src.inference.video.pages import PagedFrames, image_source
from src.inference.video.sources import ImageFrames
from tests.files.images.make_images import animation, tiff


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_every_frame_of_an_animated_image_is_read(tmp_path, format_):
    (tmp_path / "a.webp").write_bytes(animation(format_, 5))
    source = image_source(tmp_path / "a.webp", 10)
    found = list(source)
    assert [frame.image.shape[1:] for frame in found] == [(8, 12)] * 5
    assert all(abs(int(frame.image.float().mean()) - 40 * t) <= 3 for t, frame in enumerate(found))
    assert [frame.time for frame in found] == [Fraction(t, 10) for t in range(5)]
    assert (source.stored_frames(), source.info.fps, source.decode_errors) == (5, 10, [])
    assert len(list(source)) == 5


def test_frames_have_their_own_durations(tmp_path):
    (tmp_path / "a.gif").write_bytes(animation("GIF", 3, durations=[40, 500, 100]))
    source = image_source(tmp_path / "a.gif", 10)
    assert [(frame.time, frame.duration) for frame in source] == [
        (0, Fraction(4, 100)),
        (Fraction(4, 100), Fraction(1, 2)),
        (Fraction(54, 100), Fraction(1, 10)),
    ]
    assert source.info.fps == 25


def test_other_images_have_one_frame(tmp_path):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.gif")
    (tmp_path / "b.tif").write_bytes(tiff(np.zeros((4, 6, 3), np.float32)))
    for name in ("a.gif", "b.tif"):
        source = image_source(tmp_path / name, 10)
        assert isinstance(source, ImageFrames) and len(list(source)) == 1


def test_damage_ends_the_frames_and_is_an_error(tmp_path):
    (tmp_path / "a.tif").write_bytes(animation("TIFF", 3))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        content[image.tile[0].offset :] = b""
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tif cannot be decoded"):
        list(PagedFrames(tmp_path / "a.tif", 3, 10)) and image_source(tmp_path / "a.tif", 10)


def test_an_animation_in_a_folder_of_frames_is_an_error(tmp_path):
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(animation("PNG", 3))
    source = image_source(tmp_path, 10)
    assert len(list(source)) == 1
    assert len(source.decode_errors) == 1 and "1.png holds 3 frames or pages" in source.decode_errors[0]
