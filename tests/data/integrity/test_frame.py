from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.integrity.frame import FrameFiles, check_frame, is_interpolated, lossy_format
from src.files.images.label_png import LabelFormat
from tests.data.fake_layouts import write_image, write_label

FORMAT = LabelFormat({0: 0, 1: 1, 2: 2, 255: 255})


def blob(low, high, size=(64, 96)):
    values = np.full(size, low, np.uint8)
    cv2.circle(values, (48, 32), 22, high, -1)
    return values


def encoded(values, kind, **options):
    file = BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def checked(tmp_path, values, size=None, name="x.png", kind="PNG"):
    write_image(tmp_path / "x.jpg", size=size or values.shape)
    (tmp_path / name).write_bytes(encoded(values, kind))
    return check_frame(FORMAT, FrameFiles(tmp_path / "x.jpg", tmp_path / name))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_a_label_in_a_lossy_format_is_an_issue_whatever_its_name(tmp_path, kind):
    (issue,) = checked(tmp_path, blob(0, 1), kind=kind).issues
    assert issue.kind == "lossy" and kind in issue.message and str(tmp_path / "x.png") in issue.message


def test_lossy_and_exact_formats_are_told_apart_by_content():
    values = blob(0, 2)
    exact = {"PNG": {}, "BMP": {}, "GIF": {}, "TIFF": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True}}
    assert {kind: lossy_format(encoded(values, kind, **options)) for kind, options in exact.items()} == dict.fromkeys(exact)
    assert lossy_format(encoded(values, "TIFF", compression="jpeg")) == "TIFF with jpeg compression"
    assert lossy_format(encoded(values, "WEBP", quality=80)) == "lossy WEBP"
    assert lossy_format(b"no image") is None


@pytest.mark.parametrize("high", [2, 40, 255])
def test_smoothly_resized_and_antialiased_labels_are_recognized(high):
    sound = blob(0, high)
    smaller = cv2.resize(sound, (60, 40), interpolation=cv2.INTER_AREA)
    larger = cv2.resize(sound, (150, 100), interpolation=cv2.INTER_LINEAR)
    assert not is_interpolated(sound) and is_interpolated(smaller) and is_interpolated(larger)
    assert not is_interpolated(cv2.resize(sound, (150, 100), interpolation=cv2.INTER_NEAREST))


def test_a_jpeg_saved_as_png_is_recognized():
    values = cv2.imdecode(cv2.imencode(".jpg", blob(3, 90))[1], cv2.IMREAD_GRAYSCALE)
    assert is_interpolated(values)


def test_thin_objects_are_not_mistaken_for_interpolation():
    values = blob(0, 3)
    values[:, 20] = 2
    values[10] = 1
    assert not is_interpolated(values)


@pytest.mark.parametrize(
    ("size", "hint"),
    [((96, 64), "turned, perhaps by the EXIF orientation"), ((128, 192), "resized"), ((50, 96), "64x96 \\(HxW\\)")],
)
def test_the_message_about_sizes_names_the_likely_cause(tmp_path, size, hint):
    (issue,) = checked(tmp_path, blob(0, 1), size=size).issues
    assert issue.kind == "size"
    with pytest.raises(ValueError, match=hint):
        raise issue.error()


def test_undefined_values_are_counted(tmp_path):
    report = checked(tmp_path, blob(0, 7))
    (inside,) = report.undefined.values()
    assert list(report.undefined) == [7] and report.pixels == {0: 64 * 96 - inside}
    assert [issue.kind for issue in report.issues] == ["values"]


def test_equal_pixels_have_equal_digests_and_plain_images_none(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "b.bmp")
    write_image(tmp_path / "plain.png")
    write_label(tmp_path / "label.png", blob(0, 1, (8, 8)))
    a, b, plain = (check_frame(FORMAT, FrameFiles(tmp_path / name, None)).image_hash for name in ("a.png", "b.bmp", "plain.png"))
    assert a == b is not None and plain is None
