from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from src.files.images import opened_image
from src.files.images.readers import image_size, read_label_png, read_rgb
from tests.files.images.make_images import chunk, png, tiff

RAMP = np.linspace(0, 65535, 12 * 20).reshape(12, 20).astype(np.uint16)
COLORS16 = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


@pytest.fixture(autouse=True)
def _fresh_warnings():
    opened_image._warned.clear()


def read(tmp_path, content, name="a.png"):
    (tmp_path / name).write_bytes(content)
    found = read_rgb(tmp_path / name)
    assert tuple(found.shape[1:]) == image_size(tmp_path / name)
    return found.permute(1, 2, 0).numpy()


def rgb(values):
    return np.broadcast_to(values[..., None], (*values.shape, 3)) if values.ndim == 2 else values[..., :3]


def shown(values16):
    return rgb(np.rint(values16 / 257)).astype(np.uint8)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("values", [RAMP, COLORS16], ids=["grey", "RGB"])
def test_sixteen_bit_png_is_divided_by_257(tmp_path, values, alpha):
    channels = values if values.ndim == 3 else values[..., None]
    content = png(np.concatenate([channels, channels[..., :1] // 2], -1), 16) if alpha else png(values, 16)
    assert np.array_equal(read(tmp_path, content), shown(values))


@pytest.mark.parametrize("kind", ["uint16", "uint32", "float32", "float64", "int16", "int32"])
@pytest.mark.parametrize("values", [RAMP, COLORS16], ids=["grey", "RGB"])
def test_tiff_values_are_scaled_by_the_range_of_their_type(tmp_path, values, kind):
    part = values / 65535
    scaled = part if kind.startswith("float") else np.floor(part * np.iinfo(kind).max)
    found = read(tmp_path, tiff(scaled.astype(kind)), "a.tif")
    assert abs(found.astype(int) - rgb(np.rint(part * 255))).max() <= (kind == "int16")


@pytest.mark.parametrize("compression", ["zstd", "lzma", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_grey_tiffs_of_every_compression_keep_all_bits(tmp_path, kind, compression):
    values = RAMP.astype(kind) * (np.iinfo(kind).max // 65535)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read_label_png(tmp_path / "a.tif"), values)
    assert np.array_equal(read_rgb(tmp_path / "a.tif")[0].numpy(), np.rint(values * (255 / np.iinfo(kind).max)))


def test_signed_bytes_span_0_to_127(tmp_path):
    values = (RAMP // 520).astype(np.int8)
    assert np.array_equal(read(tmp_path, tiff(values), "a.tif"), rgb(np.rint(values * (255 / 127))))


def test_white_is_zero_is_shown_as_viewers_do(tmp_path):
    assert np.array_equal(read(tmp_path, tiff(RAMP, photometric=0), "a.tif"), 255 - shown(RAMP))


def test_twelve_bit_tiff_is_scaled_by_4095(tmp_path):
    content = tiff(RAMP // 16, bits=12)
    assert np.array_equal(read(tmp_path, content, "a.tif"), rgb(np.rint(RAMP // 16 * (255 / 4095))))


def test_a_16_bit_pgm_is_divided_by_257(tmp_path):
    assert np.array_equal(read(tmp_path, b"P5\n20 12\n65535\n" + RAMP.astype(">u2").tobytes(), "a.pgm"), shown(RAMP))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_images_of_few_bits_span_0_to_255(tmp_path, bits):
    values = (RAMP % 2**bits).astype(np.uint8)
    assert np.array_equal(read(tmp_path, png(values, bits)), rgb(values * (255 // (2**bits - 1))))
    assert np.array_equal(read(tmp_path, tiff(values, bits=bits), "a.tif"), rgb(values * (255 // (2**bits - 1))))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.float32([[0, 1.5]]), r"float values are 0\.\.1\.5; expected 0\.\.1"),
        (np.float32([[-0.25, 1]]), r"float values are -0\.25\.\.1; expected 0\.\.1"),
        (np.float32([[0, np.nan]]), r"float values are nan\.\.nan; expected 0\.\.1"),
        (np.float32([[[0, 200, 255]]]), r"float values are 0\.\.255; expected 0\.\.1"),
        (np.int32([[0, 255]]), r"values are 0\.\.255, all black in 0\.\.2147483647"),
        (np.int16([[-5, 255]]), r"values are -5\.\.255; expected 0\.\.32767"),
        (np.float16([[0, 1]]), r"a TIFF of 1 x 16 bits \(float\) cannot be decoded"),
        (np.uint16([[[5, 6]]]), r"a TIFF of 2 x 16 bits \(unsigned\) cannot be decoded"),
    ],
)
def test_values_out_of_range_are_an_error_with_file_range_and_expectation(tmp_path, values, found):
    with pytest.raises(ValueError, match=rf"a\.tif: {found}"):
        read(tmp_path, tiff(values), "a.tif")


def test_8_bit_values_in_16_bits_are_named(tmp_path, caplog):
    assert read(tmp_path, png(np.uint16([[0, 255]]), 16)).max() == 1
    assert "a.png: the largest value is 255 of 65535" in caplog.text


@pytest.mark.parametrize("cut", [20, 100, 600])
@pytest.mark.parametrize("content", [png(COLORS16, 16), tiff(COLORS16), tiff((COLORS16 / 65535).astype(np.float32))])
def test_a_truncated_deep_image_is_an_error(tmp_path, content, cut):
    with pytest.raises(ValueError, match=r"a\.tif.* cannot be decoded"):
        read(tmp_path, content[:-cut], "a.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L"])
def test_alpha_is_dropped_and_colors_stay(tmp_path, mode):
    colors = (COLORS16 // 257).astype(np.uint8)
    image = Image.fromarray(colors).quantize(16) if mode == "P" else Image.fromarray(colors).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(colors[..., 0]))
    options = {"transparency": bytes(range(0, 160, 10))} if mode == "P" else {}
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    assert np.array_equal(read(tmp_path, stream.getvalue()), expected)


def wide_profile():
    """Return a copy of Pillow's sRGB profile with the red and the green primary exchanged."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.index(b"rXYZ"), content.index(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(content)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_other_color_profiles_are_converted_to_srgb(tmp_path, suffix):
    image = Image.fromarray(np.full((16, 16, 3), (250, 20, 20), np.uint8))
    image.save(tmp_path / f"a.{suffix}", icc_profile=wide_profile())
    assert abs(read_rgb(tmp_path / f"a.{suffix}")[:, 5, 5].numpy().astype(int) - [20, 250, 20]).max() <= 6
    image.save(tmp_path / f"b.{suffix}", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    image.save(tmp_path / f"c.{suffix}")
    assert np.array_equal(read_rgb(tmp_path / f"b.{suffix}"), read_rgb(tmp_path / f"c.{suffix}"))


def test_a_profile_that_does_not_fit_is_named(tmp_path, caplog):
    Image.fromarray(COLORS16.astype(np.uint8)).save(tmp_path / "a.png", icc_profile=b"no profile at all")
    assert np.array_equal(read_rgb(tmp_path / "a.png").permute(1, 2, 0), COLORS16.astype(np.uint8))
    assert "a.png: its color profile cannot be applied" in caplog.text


def test_hdr_code_points_are_named(tmp_path, caplog):
    read(tmp_path, png(COLORS16, 16, chunk(b"cICP", bytes([9, 16, 0, 1]))))
    assert "a.png has PQ colors, which are read as sRGB without conversion" in caplog.text
