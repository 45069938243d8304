"""Laws of colors and orientation: what players show of ramps whose right values are computed here."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from src.files.video.upright import UprightRgb, _unconverted, orientation
from tests.inference.tiny import frames
from tests.inference.videos import make_video

PQ, HLG, SDR = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, ColorTrc.BT709
BT709, BT2020, P3 = ColorPrimaries.BT709, ColorPrimaries.BT2020, ColorPrimaries.SMPTE432
LIMITED, FULL, UNSPECIFIED = 1, 2, 0
GRADIENT = np.linspace(0, 1, 129)


def frame_of(
    planes: Sequence[NDArray[Any] | float], pix_fmt: str, size: tuple[int, int] = (4, 4), *,
    transfer: int = 2, primaries: int = 2, matrix: int = 2, color_range: int = UNSPECIFIED,
) -> av.VideoFrame:  # fmt: skip
    """Create a frame (H, W); every plane is a number or a row of values."""
    frame = av.VideoFrame(size[1], size[0], pix_fmt)
    wide = any(component.bits > 8 for component in frame.format.components)
    for plane, values in zip(frame.planes, planes, strict=True):
        row = np.zeros(plane.line_size // (2 if wide else 1), np.uint16 if wide else np.uint8)
        row[:] = (
            np.resize(values, row.shape) if np.ndim(values) == 0 else np.pad(values, (0, len(row) - len(values)), mode="edge")
        )
        plane.update(np.tile(row, plane.buffer_size // plane.line_size).tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, primaries, matrix, color_range
    return frame


def pixel(frame: av.VideoFrame) -> list[int]:
    return UprightRgb(Path("a.mp4"))(frame)[:, 0, 0].tolist()


def grey_ramp(transfer: int, color_range: int = LIMITED, pix_fmt: str = "yuv420p10le", **tags: int) -> NDArray[np.int64]:
    """Return what a ramp of the signal from 0 to 1 becomes."""
    deep = (1 << (12 if "12" in pix_fmt else 10)) if "le" in pix_fmt else 256
    low, span = (deep // 16, 219 * deep // 256) if color_range == LIMITED else (0, deep - 1)
    luma = np.round(low + GRADIENT * span)
    frame = frame_of(
        (luma, deep // 2, deep // 2), pix_fmt, (4, 129), transfer=transfer, color_range=color_range,
        **{"primaries": BT2020, "matrix": 9} | tags,
    )  # fmt: skip
    image = UprightRgb(Path("a.mp4"))(frame).numpy().astype(np.int64)
    assert (np.ptp(image, axis=0) <= 1).all(), "grey stays grey"
    return image[0, 0]


@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv420p12le", "yuv422p10le", "yuv420p"])
@pytest.mark.parametrize(("transfer", "white"), [(HLG, 0.75), (PQ, 0.5807)])
def test_hdr_is_tone_mapped_to_sdr(transfer: int, white: float, pix_fmt: str, color_range: int) -> None:
    ramp = grey_ramp(transfer, color_range, pix_fmt)
    assert ramp[0] <= 1 and ramp[-1] == 255 and (np.diff(ramp) >= 0).all()
    # 203 nits (BT.2408), and 1000 nits.
    assert np.interp(white, GRADIENT, ramp) == pytest.approx(230, abs=3)
    assert np.interp(0.752 if transfer == PQ else 1, GRADIENT, ramp) >= 254
    assert len(np.unique(ramp)) > 30


@pytest.mark.parametrize("tags", [{"primaries": 2}, {"matrix": 2}, {"primaries": 2, "matrix": 2}])
@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_without_primaries_or_matrix_is_that_of_bt2100(transfer: int, tags: dict[str, int]) -> None:
    assert (grey_ramp(transfer, **tags) == grey_ramp(transfer)).all()
    red = {"matrix": 9, "primaries": 9, "transfer": transfer, "color_range": LIMITED}
    full = frame_of((300, 450, 700), "yuv444p10le", **red)
    assert pixel(full) == pixel(frame_of((300, 450, 700), "yuv444p10le", **red | tags))


def test_shadows_of_hdr_keep_their_light() -> None:
    # 2 % of the reference white is 2 % of the white of SDR: below the knee, light is not changed.
    nits = 0.02 * 203
    power = (nits / 10000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    expected = 255 * (1.055 * 0.02 ** (1 / 2.4) - 0.055)
    assert np.interp(signal, GRADIENT, grey_ramp(PQ)) == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("primaries", [BT2020, P3, ColorPrimaries.SMPTE431])
def test_wide_gamut_becomes_bt709(primaries: int) -> None:
    tags = {"transfer": SDR, "primaries": primaries, "matrix": 0}
    ramp = UprightRgb(Path("a.mp4"))(frame_of((GRADIENT * 1023,) * 3, "gbrp10le", (4, 129), **tags)).numpy()[:, 0]
    assert np.abs(ramp - GRADIENT * 255).max() <= 1, "grey is unchanged"
    # Planes are green, blue, red. The same numbers are a more saturated color in a wider gamut.
    red, green, blue = pixel(frame_of((400, 400, 800), "gbrp10le", **tags))
    assert red > 200 + 4 and green < 100 - 3 and abs(blue - 100) < 10
    assert pixel(frame_of((400, 400, 800), "gbrp10le", **tags | {"primaries": BT709})) == pytest.approx([199, 100, 100], abs=1)


def test_a_saturated_bt2020_color_has_its_value_in_bt709() -> None:
    # A red inside BT.709: linear (0.5, 0.1, 0.1) there, (0.3509, 0.1276, 0.1146) in BT.2020 (BT.2087).
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    red, green, blue = (to_bt2020 @ [0.5, 0.1, 0.1]) ** (1 / 2.4) * 1023
    found = pixel(frame_of((round(green), round(blue), round(red)), "gbrp10le", transfer=14, primaries=BT2020, matrix=0))
    assert found == pytest.approx([255 * 0.5 ** (1 / 2.4), *2 * [255 * 0.1 ** (1 / 2.4)]], abs=2)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv420p10le", 10), ("yuv420p16le", 16), ("yuv422p10le", 10)])
@pytest.mark.parametrize("primaries", [BT2020, P3])
@pytest.mark.parametrize("shade", [(200, 30, 30), (30, 200, 30), (30, 30, 200), (60, 20, 90)])
def test_subsampled_wide_gamut_keeps_its_colors(shade: tuple[int, int, int], primaries: int, pix_fmt: str, bits: int) -> None:
    light = (np.array(shade) / 255) ** 2.4
    wide = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    p3 = [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]]
    red, green, blue = (np.array(wide if primaries == BT2020 else p3) @ light) ** (1 / 2.4)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8814, 128 + 224 * (red - luma) / 1.4746
    scaled = [round(float(value) * 2 ** (bits - 8)) for value in planes]
    frame = frame_of(scaled, pix_fmt, (16, 16), transfer=14, primaries=primaries, matrix=9, color_range=LIMITED)
    image = UprightRgb(Path("a.mp4"))(frame).numpy()
    assert image[:, 0, 0].tolist() == pytest.approx(shade, abs=8 if bits == 8 else 3)
    assert (image == image[:, :1, :1]).all()


@pytest.mark.parametrize("transfer", [SDR, HLG, PQ])
def test_limited_grey_is_that_of_color_videos(transfer: int) -> None:
    grey = pixel(frame_of((502,), "gray10le", transfer=transfer, primaries=BT2020, color_range=LIMITED))
    tags = {"transfer": transfer, "primaries": BT2020, "matrix": 9, "color_range": LIMITED}
    assert grey == pytest.approx(pixel(frame_of((502, 512, 512), "yuv444p10le", **tags)), abs=1)


def expected_rgb(y: float, u: float, v: float, red: float, blue: float) -> list[int]:
    luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    return [round(255 * min(1, max(0, value))) for value in (r, (luma - red * r - blue * b) / (1 - red - blue), b)]


BT601_WEIGHTS, BT709_WEIGHTS, BT2020_WEIGHTS = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p10le"])
@pytest.mark.parametrize(
    ("size", "matrix", "weights"),
    [
        ((480, 640), 2, BT601_WEIGHTS), ((576, 720), 2, BT601_WEIGHTS), ((720, 1280), 2, BT709_WEIGHTS),
        ((1280, 720), 2, BT709_WEIGHTS), ((1080, 1920), 3, BT709_WEIGHTS), ((48, 64), 1, BT709_WEIGHTS),
        ((1080, 1920), 5, BT601_WEIGHTS), ((1080, 1920), 6, BT601_WEIGHTS), ((48, 64), 9, BT2020_WEIGHTS),
    ],
)  # fmt: skip
def test_the_color_matrix_is_the_declared_one_or_that_of_the_size(
    size: tuple[int, int], matrix: int, weights: tuple[float, float], pix_fmt: str
) -> None:
    scale = 4 if "10" in pix_fmt else 1
    frame = frame_of((90 * scale, 110 * scale, 170 * scale), pix_fmt, size, matrix=matrix)
    assert pixel(frame) == pytest.approx(expected_rgb(90, 110, 170, *weights), abs=2)


@pytest.mark.parametrize(
    ("pix_fmt", "size", "matrix"), [("yuv420p", (48, 64), 2), ("yuv420p", (48, 64), 1), ("yuvj420p", (48, 64), 2)]
)
def test_usual_videos_are_converted_as_by_ffmpeg(pix_fmt: str, size: tuple[int, int], matrix: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 64))
    frame = frame_of((values[0], values[1, :32], values[2, :32]), pix_fmt, size, matrix=matrix)
    assert np.array_equal(UprightRgb(Path("a.mp4"))(frame).permute(1, 2, 0).numpy(), frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize(
    ("pix_fmt", "color_range", "white"),
    [
        ("yuv420p", UNSPECIFIED, 235), ("yuv420p", LIMITED, 235), ("yuv420p", FULL, 255), ("yuvj420p", UNSPECIFIED, 255),
        ("yuv420p10le", LIMITED, 940), ("yuv420p10le", FULL, 1023), ("yuv420p12le", LIMITED, 3760),
        ("gray", UNSPECIFIED, 255), ("gray", LIMITED, 235), ("gray10le", UNSPECIFIED, 1023), ("gray10le", LIMITED, 940),
        ("gray12le", FULL, 4095),
    ],
)  # fmt: skip
def test_white_is_white_in_every_range_and_depth(pix_fmt: str, color_range: int, white: int) -> None:
    chroma = (
        [] if "gray" in pix_fmt else [{8: 128, 10: 512, 12: 2048}[12 if "12" in pix_fmt else 10 if "10" in pix_fmt else 8]] * 2
    )
    assert pixel(frame_of((white, *chroma), pix_fmt, color_range=color_range, matrix=1 if chroma else 2)) == [255] * 3


def test_rgb_and_alpha() -> None:
    assert pixel(frame_of((10, 20, 200), "gbrp", matrix=0)) == [200, 10, 20]
    assert pixel(frame_of((40, 80, 800), "gbrp10le", matrix=2)) == pytest.approx([200, 10, 20], abs=1)
    # Green, blue, red, alpha: over black, as players show it.
    assert pixel(frame_of((100, 200, 40, 128), "gbrap", matrix=0)) == pytest.approx([20, 50, 100], abs=1)
    assert pixel(frame_of((235, 128, 128, 0), "yuva420p")) == [0, 0, 0]
    assert pixel(frame_of((235, 128, 128, 255), "yuva420p")) == [255] * 3


def test_what_is_not_converted_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert = UprightRgb(tmp_path / "log.mp4")
    for _ in range(2):
        convert(frame_of((90, 110, 170), "yuv444p", transfer=ColorTrc.LOG, matrix=1))
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'log.mp4'}: its colors are not converted to SDR and may look washed out "
        "(transfer function LOG and primaries UNSPECIFIED)"
    ]
    with pytest.raises(ValueError, match="color matrix is ICtCp, which is not supported"):
        convert(frame_of((90, 110, 170), "yuv444p", matrix=14))


def test_dolby_vision_without_a_base_layer_is_named() -> None:
    # PyAV cannot write such a file.
    frame = SimpleNamespace(
        color_trc=2, color_primaries=2, side_data={"DOVI_METADATA": b""}, format=av.VideoFormat("yuv420p10le")
    )
    assert _unconverted(frame) == "Dolby Vision without a base layer in HDR10, HLG or SDR"  # type: ignore[arg-type]
    frame.color_trc = HLG
    assert _unconverted(frame) is None  # type: ignore[arg-type]


def first_frame(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_all_eight_orientations(tmp_path: Path, name: str, angle: int, mirrored: bool) -> None:
    clip = frames(1, (32, 64))
    frame = first_frame(make_video(tmp_path / name, clip, rotation=angle, mirrored=mirrored))
    if name.endswith("mkv") and orientation(frame) == (False, [], 0):
        assert not angle or mirrored, "Matroska stores rotations"
        return
    stored = frame.to_ndarray(format="rgb24")
    shown = np.rot90(stored, angle // 90)
    shown = shown[:, ::-1] if mirrored else shown
    for interleaved in (False, True):
        image = UprightRgb(tmp_path / name)(frame, interleaved)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), shown) and (interleaved or image.is_contiguous())


@pytest.mark.parametrize(("angle", "nearest"), [(30, 0), (60, 1), (100, 1), (200, 2), (300, 3)])
def test_other_angles_are_turned_to_the_nearest_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, angle: int, nearest: int
) -> None:
    frame = first_frame(make_video(tmp_path / "a.mp4", frames(1, (32, 64)), rotation=angle))
    image = UprightRgb(tmp_path / "a.mp4")(frame).permute(1, 2, 0).numpy()
    assert np.array_equal(image, np.rot90(frame.to_ndarray(format="rgb24"), nearest))
    clockwise = -angle if angle < 180 else 360 - angle
    assert f"a.mp4: it is to be shown turned by {clockwise} degrees clockwise" in caplog.text


@pytest.mark.parametrize("width", [16, 18, 34, 61, 129, 131])
@pytest.mark.parametrize(("pix_fmt", "transfer"), [("yuv420p", 1), ("yuv420p", HLG), ("yuva420p", 1), ("yuv422p", PQ)])
def test_every_column_of_every_width_is_converted(pix_fmt: str, transfer: int, width: int) -> None:
    planes = (150, 128, 128, 255)[: 4 if "yuva" in pix_fmt else 3]
    for _ in range(3):
        image = UprightRgb(Path("a.mp4"))(frame_of(planes, pix_fmt, (4, width), transfer=transfer, matrix=1))
        assert np.ptp(image.numpy()) <= 1
