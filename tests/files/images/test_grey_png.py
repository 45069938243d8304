"""Law: decoded values equal Pillow's; other and damaged files return ``None``."""

import zlib
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from src.files.atomic_write import write_label_png
from src.files.images.grey_png import decode_unfiltered_png

NO_LIMIT = float("inf")
VALUES = np.kron(np.random.default_rng(0).integers(0, 256, (9, 7)), np.ones((5, 8))).astype(np.uint8)


@pytest.fixture
def plain(tmp_path):
    write_label_png(tmp_path / "a.png", VALUES)
    return (tmp_path / "a.png").read_bytes()


def encoded(image, **options):
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def chunk(name, data):
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def png(height, width, rows, parts=1):
    stream = zlib.compress(rows)
    bounds = np.linspace(0, len(stream), parts + 1).astype(int)
    header = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    pieces = b"".join(chunk(b"IDAT", stream[a:b]) for a, b in pairwise(bounds))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"a\0b") + pieces + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 1), (480, 853)])
def test_labels_of_write_label_png_are_decoded(tmp_path, shape):
    values = np.random.default_rng(1).integers(0, 125, shape).astype(np.uint8)
    write_label_png(tmp_path / "a.png", values)
    assert np.array_equal(decode_unfiltered_png((tmp_path / "a.png").read_bytes(), NO_LIMIT), values)


@pytest.mark.parametrize("parts", [1, 3])
def test_data_in_several_chunks_is_decoded(parts):
    content = png(2, 3, b"\0abc\0def", parts)
    assert (
        decode_unfiltered_png(content, NO_LIMIT).tolist()
        == np.asarray(Image.open(BytesIO(content))).tolist()
        == [[97, 98, 99], [100, 101, 102]]
    )


OTHERS = {
    "filtered": encoded(Image.fromarray(VALUES)),
    "filtered in one row": png(2, 3, b"\0abc\1def"),
    "16 bit": encoded(Image.fromarray(VALUES.astype(np.uint16))),
    "palette": encoded(Image.fromarray(VALUES).convert("P")),
    "colors": encoded(Image.fromarray(VALUES).convert("RGB")),
    "a JPEG": b"\xff\xd8\xff\xd9",
    "a row too few": png(3, 3, b"\0abc\0def"),
    "a row too many": png(1, 3, b"\0abc\0def"),
    "no rows": png(0, 3, b""),
    "no picture": b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_other_kinds_of_files_return_none(content):
    assert decode_unfiltered_png(content, NO_LIMIT) is None


def test_damaged_and_oversized_files_return_none(plain):
    assert np.array_equal(decode_unfiltered_png(plain, VALUES.size), VALUES)
    assert decode_unfiltered_png(plain, VALUES.size - 1) is None
    for place in range(len(plain)):
        assert decode_unfiltered_png(plain[:place], NO_LIMIT) is None, place
        assert decode_unfiltered_png(plain[:place] + bytes([plain[place] ^ 16]) + plain[place + 1 :], NO_LIMIT) is None, place
