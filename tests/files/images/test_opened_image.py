import struct
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from src.files.images import opened_image
from src.files.images.readers import image_size, read_label_png, read_rgb
from tests.files.images.make_images import ORIENTATIONS, STORED, animation, chunk, exif, png, tiff

SHOWN = np.zeros((6, 10, 3), np.uint8)
SHOWN[0] = 250, 0, 0
SHOWN[:, 0] = 0, 0, 250
SHOWN[3:, 6:] = 60


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg", "avif"])
def test_images_are_turned_as_viewers_show_them(tmp_path, suffix, orientation):
    stored = np.ascontiguousarray(STORED[orientation](SHOWN.repeat(8, 0).repeat(8, 1)))
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}, "avif": {"quality": 100}}.get(suffix, {})
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif(orientation), **options)
    found = read_rgb(tmp_path / f"a.{suffix}").permute(1, 2, 0).numpy()
    assert found.shape[:2] == image_size(tmp_path / f"a.{suffix}") == (48, 80)
    assert abs(found[4::8, 4::8].astype(int) - SHOWN).max() < 12


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_deep_images_and_labels_are_turned_too(tmp_path, orientation):
    stored = np.ascontiguousarray(STORED[orientation](SHOWN))
    (tmp_path / "deep.tif").write_bytes(tiff(stored.astype(np.uint16) * 257, orientation))
    (tmp_path / "deep.png").write_bytes(png(stored.astype(np.uint16) * 257, 16, chunk(b"eXIf", exif(orientation).tobytes()[6:])))
    for name in ("deep.tif", "deep.png"):
        assert np.array_equal(read_rgb(tmp_path / name).permute(1, 2, 0), SHOWN)
        assert image_size(tmp_path / name) == (6, 10)
    for bits in (4, 8):
        content = png(stored[..., 2] % 13, bits, chunk(b"eXIf", exif(orientation).tobytes()[6:]))
        (tmp_path / "label.png").write_bytes(content)
        assert np.array_equal(read_label_png(tmp_path / "label.png"), SHOWN[..., 2] % 13)


def test_an_unknown_orientation_is_upright(tmp_path):
    Image.fromarray(SHOWN).save(tmp_path / "a.png", exif=exif(11))
    assert np.array_equal(read_rgb(tmp_path / "a.png").permute(1, 2, 0), SHOWN)


def test_an_orientation_in_xmp_counts(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(np.ascontiguousarray(STORED[6](SHOWN))).save(tmp_path / "a.jpg", xmp=xmp)
    assert image_size(tmp_path / "a.jpg") == read_rgb(tmp_path / "a.jpg").shape[1:] == (6, 10)


@pytest.mark.parametrize("format_", ["WEBP", "GIF", "PNG", "AVIF", "TIFF"])
@pytest.mark.parametrize("read", [read_rgb, image_size])
def test_several_frames_where_one_is_expected_are_an_error(tmp_path, format_, read):
    (tmp_path / "a.jpg").write_bytes(animation(format_))
    with pytest.raises(ValueError, match=r"a\.jpg holds 5 frames or pages; expected one image"):
        read(tmp_path / "a.jpg")


def test_pages_of_a_deep_tiff_are_an_error(tmp_path):
    first = tiff(SHOWN.astype(np.uint16))
    place = 8 + 2 + 12 * 12
    (tmp_path / "a.tif").write_bytes(first[:place] + struct.pack("<I", 8) + first[place + 4 :])
    with pytest.raises(ValueError, match=r"a\.tif holds several frames or pages"):
        read_rgb(tmp_path / "a.tif")


def test_the_preview_in_a_jpeg_is_no_frame(tmp_path):
    pictures = [Image.fromarray(SHOWN), Image.fromarray(SHOWN[:4])]
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert image_size(tmp_path / "a.jpg") == read_rgb(tmp_path / "a.jpg").shape[1:] == (6, 10)


def test_a_suffix_does_not_decide_the_format(tmp_path):
    Image.fromarray(SHOWN).save(tmp_path / "a.jpg", "PNG")
    assert np.array_equal(read_rgb(tmp_path / "a.jpg").permute(1, 2, 0), SHOWN)
    (tmp_path / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded: no intact header \(it begins with b'%!PS-Ado'\); exp"):
        read_rgb(tmp_path / "b.png")


@pytest.mark.parametrize(
    "content", [png(SHOWN, 8), png(SHOWN[..., 0], 8), png(SHOWN[..., 0] % 4, 2), tiff(SHOWN.astype(np.uint16))]
)
def test_too_many_pixels_are_an_error(tmp_path, monkeypatch, content):
    monkeypatch.setattr(opened_image, "MAX_PIXELS", 50)
    (tmp_path / "bomb.png").write_bytes(content)
    for read in (read_rgb, image_size):
        with pytest.raises(ValueError, match=r"bomb\.png has 6x10 pixels \(HxW\); expected 1 to 50 pixels; resize it"):
            read(tmp_path / "bomb.png")


def test_an_image_without_pixels_is_an_error(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6\n0 5\n255\n")
    (tmp_path / "b.png").write_bytes(png(np.zeros((1, 0), np.uint8), 8))
    for name in ("a.ppm", "b.png"):
        with pytest.raises(ValueError, match=name):
            read_rgb(tmp_path / name)


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic" + b"\0\0\0\0mif1heic" + b"\0" * 40)
    with pytest.raises(ValueError, match=r"a\.heic is a HEIC image, which needs pillow-heif: pip install pillow-heif"):
        read_rgb(tmp_path / "a.heic")


@pytest.mark.parametrize("format_", ["WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM", "TIFF"])
def test_every_format_is_read_and_a_part_of_it_is_refused(tmp_path, format_):
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    stream = BytesIO()
    Image.fromarray(noise).save(stream, format_)
    whole = tmp_path / "a.png"
    whole.write_bytes(stream.getvalue())
    assert read_rgb(whole).shape == (3, 48, 48) and read_rgb(whole).dtype == torch.uint8
    for part in (0.1, 0.5, 0.9):
        whole.write_bytes(stream.getvalue()[: int(part * len(stream.getvalue()))])
        with pytest.raises(ValueError, match=r"a\.png cannot be decoded"):
            read_rgb(whole)
