from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from src.files.images.readers import image_size, natural_key, read_label_colors, read_label_png, read_rgb
from tests.data.fake_layouts import write_label
from tests.files.images.make_images import chunk, exif, png, tiff

COLORS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_images_are_rgb_whatever_the_file(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "rgb.png")
    Image.fromarray(COLORS).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(COLORS[..., 0]).save(tmp_path / "grey.png")
    expected = torch.from_numpy(COLORS).permute(2, 0, 1)
    assert torch.equal(read_rgb(tmp_path / "rgb.png"), expected)
    assert torch.equal(read_rgb(tmp_path / "rgba.png"), expected)
    assert torch.equal(read_rgb(tmp_path / "grey.png"), expected[:1].expand(3, -1, -1))
    assert image_size(tmp_path / "rgb.png") == (4, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_keep_their_values(tmp_path, dtype):
    values = np.array([[0, 1, 7], [254, 255, np.iinfo(dtype).max]], dtype)
    write_label(tmp_path / "label.png", values)
    read = read_label_png(tmp_path / "label.png")
    assert read.dtype == dtype
    assert read.tolist() == values.tolist()


@pytest.mark.parametrize("bits", [1, 8])
def test_a_palette_label_gives_indices_not_colors(tmp_path, bits):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    image.putpalette([9, 9, 9, 200, 100, 50])
    image.save(tmp_path / "label.png", bits=bits)
    assert read_label_png(tmp_path / "label.png").tolist() == [[0, 1], [1, 0]]


NUMBERS = np.random.default_rng(0).integers(0, 2**16, (7, 11))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("kind", ["grey", "transparent", "palette", "turned", "TIFF", "TIFF, 0 is white"])
def test_labels_have_the_numbers_in_the_file_whatever_the_depth(tmp_path, bits, kind):
    values = (NUMBERS % 2**bits).astype(np.uint16 if bits == 16 else np.uint8)
    if kind.startswith("TIFF"):
        content = tiff(values, photometric=0 if "white" in kind else 1, bits=bits if bits < 8 else None)
    elif kind == "palette":
        if bits == 16:
            return
        content = png(values, bits, palette=bytes(np.random.default_rng(1).integers(0, 255, 3 * 2**bits, np.uint8)))
    else:
        extra = chunk(b"tRNS", b"\0\1") if kind == "transparent" else b""
        content = png(values, bits, extra + (chunk(b"eXIf", exif(1).tobytes()[6:]) if kind == "turned" else b""))
    (tmp_path / "label.png").write_bytes(content)
    assert read_label_png(tmp_path / "label.png").tolist() == values.tolist()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_of_16_bit_colors_keeps_its_values(tmp_path, channel):
    values = np.stack([NUMBERS, NUMBERS[::-1], NUMBERS[:, ::-1]], -1).astype(np.uint16)
    for content in (png(values, 16), tiff(values)):
        (tmp_path / "label.png").write_bytes(content)
        assert read_label_png(tmp_path / "label.png", channel).tolist() == values[..., channel].tolist()


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "GIF"])
def test_a_lossy_label_is_refused_whatever_its_name(tmp_path, format_):
    Image.fromarray(NUMBERS.astype(np.uint8) % 4).save(tmp_path / "label.png", format_)
    for read in (read_label_png, read_label_colors):
        with pytest.raises(ValueError, match=rf"label\.png is a {format_} image, which may be lossy; expected"):
            read(tmp_path / "label.png")


def test_colors_of_labels_are_24_bit_numbers(tmp_path):
    expected = (COLORS.astype(int) * [65536, 256, 1]).sum(-1).tolist()
    for mode in ("RGB", "RGBA"):
        Image.fromarray(COLORS).convert(mode).save(tmp_path / "label.png")
        assert read_label_colors(tmp_path / "label.png").tolist() == expected
    (tmp_path / "label.png").write_bytes(png(np.array([[0, 1]]), 1, chunk(b"tRNS", b"\0"), palette=bytes([1, 2, 3, 4, 5, 6])))
    assert read_label_colors(tmp_path / "label.png").tolist() == [[0x010203, 0x040506]]
    (tmp_path / "label.png").write_bytes(png(COLORS.astype(np.uint16), 16))
    with pytest.raises(ValueError, match=r"label\.png has more than 8 bits"):
        read_label_colors(tmp_path / "label.png")


def test_a_colored_label_is_refused(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "label.png")
    with pytest.raises(ValueError, match=r"label\.png has color channels"):
        read_label_png(tmp_path / "label.png")


@pytest.mark.parametrize("read", [read_rgb, read_label_png, image_size])
def test_missing_empty_and_foreign_files_are_named(tmp_path, read):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
        read(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"empty\.png is empty"):
        read(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"text\.png cannot be"):
        read(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_an_error_or_read_completely(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
    content, whole = (tmp_path / f"whole.{suffix}").read_bytes(), read_rgb(tmp_path / f"whole.{suffix}")
    refused = 0
    for length in range(1, len(content), 7):
        (tmp_path / f"cut.{suffix}").write_bytes(content[:length])
        try:
            assert torch.equal(read_rgb(tmp_path / f"cut.{suffix}"), whole)
        except ValueError as error:
            assert f"cut.{suffix}" in str(error)
            refused += 1
    assert refused > 0.9 * len(content) / 7


def test_a_channel_of_a_colored_label_can_be_chosen(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "rgb.png")
    Image.fromarray(COLORS[..., 1]).save(tmp_path / "grey.png")
    for channel in range(3):
        assert read_label_png(tmp_path / "rgb.png", channel).tolist() == COLORS[..., channel].tolist()
        assert read_label_png(tmp_path / "grey.png", channel).tolist() == COLORS[..., 1].tolist()


def test_frames_order_by_number(tmp_path):
    names = ["f_2.jpg", "f_10.jpg", "f_009.jpg", "a.jpg", "f_\u0663.jpg", "f_x\u00b2.jpg", "f_\u096a.jpg"]
    in_order = ["a.jpg", "f_2.jpg", "f_\u0663.jpg", "f_\u096a.jpg", "f_009.jpg", "f_10.jpg", "f_x\u00b2.jpg"]
    assert [p.name for p in sorted((tmp_path / n for n in names), key=natural_key)] == in_order


def encoded(mode, **options):
    noise = np.random.default_rng(0).integers(0, 255, (37, 50, 4 if mode == "CMYK" else 3), np.uint8)
    image = Image.fromarray(noise, mode) if mode == "CMYK" else Image.fromarray(noise).convert(mode)
    stream = BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


TURNED = Image.Exif()
TURNED[0x0112] = 6
JPEGS = {
    "4:2:0": encoded("RGB"),
    "4:4:4": encoded("RGB", subsampling=0),
    "progressive": encoded("RGB", progressive=True),
    "grey": encoded("L"),
    "CMYK": encoded("CMYK"),
    "turned by EXIF": encoded("RGB", exif=TURNED),
    "with something after its end": encoded("RGB") + b"trailer",
    "with a long comment before its frame header": encoded("RGB", comment=b"x" * 40_000),
}


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("interleaved", [False, True])
def test_a_jpeg_has_the_pixels_that_pillow_gives(tmp_path, content, interleaved):
    (tmp_path / "a.jpg").write_bytes(content)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found = read_rgb(tmp_path / "a.jpg", interleaved)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)
    assert found.permute(1, 2, 0).is_contiguous() == interleaved and found.is_contiguous() != interleaved
    assert image_size(tmp_path / "a.jpg") == expected.shape[:2]


def test_a_label_with_a_broken_byte_is_an_error_or_equals_pillows(tmp_path):
    values = np.kron(np.random.default_rng(0).integers(0, 124, (6, 8)), np.ones((5, 5))).astype(np.uint8)
    write_label(tmp_path / "label.png", values)
    content, refused = (tmp_path / "label.png").read_bytes(), 0
    for place in range(40, len(content) - 20, 5):
        (tmp_path / "label.png").write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            found = read_label_png(tmp_path / "label.png")
        except ValueError as error:
            assert "label.png cannot be decoded" in str(error)
            refused += 1
        else:
            with Image.open(tmp_path / "label.png") as image:
                assert found.tolist() == np.asarray(image).tolist()
    assert refused > 10
