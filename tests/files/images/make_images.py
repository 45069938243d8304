"""Writers of image files that Pillow cannot write: PNGs and TIFFs of any depth, and the same picture in eight orientations."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

ORIENTATIONS = range(1, 9)
# Pixels as viewers show them -> pixels as stored, for each EXIF orientation (CIPA DC-008, 4.6.5).
STORED = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: np.rot90(shown, -1),
}


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values, depth, extra=b"", palette=None):
    """Encode (H, W) or (H, W, C) whole numbers with ``depth`` bits each; ``extra``: further chunks before the pixels."""
    height, width = values.shape[:2]
    samples = values.reshape(height, -1)
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in samples]
    else:
        bits = (samples[..., None] >> np.arange(depth)[::-1] & 1).astype(np.uint8).reshape(height, -1)
        rows = [np.packbits(row).tobytes() for row in bits]
    color = 3 if palette is not None else {1: 0, 3: 2, 2: 4, 4: 6}[1 if values.ndim == 2 else values.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    colors = b"" if palette is None else chunk(b"PLTE", palette)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colors + extra + pixels + chunk(b"IEND", b"")


def tiff(values, orientation=1, photometric=None, bits=None, planar=1):
    """Encode (H, W) or (H, W, C) values of any type; ``bits`` below 8: packed."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else values.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    if bits is None:
        bits = 8 * values.dtype.itemsize
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    else:
        packed = (values[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(height, -1)
        data = b"".join(np.packbits(row).tobytes() for row in packed)
    photometric = photometric if photometric is not None else (2 if samples >= 3 else 1)
    tags = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * samples), (259, 3, [1]), (262, 3, [photometric]), (273, 4, [0]),
        (274, 3, [orientation]), (277, 3, [samples]), (278, 4, [height]), (279, 4, [len(data)]), (284, 3, [planar]),
        (339, 3, [kind] * samples),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    beyond = b""
    entries = b""
    length = sum(size for _, code, found in tags if (size := {3: 2, 4: 4}[code] * len(found)) > 4)
    for tag, code, found in tags:
        found = [start + length] if tag == 273 else found
        encoded = struct.pack("<" + {3: "H", 4: "I"}[code] * len(found), *found)
        place = encoded.ljust(4, b"\0") if len(encoded) <= 4 else struct.pack("<I", start + len(beyond))
        beyond += encoded if len(encoded) > 4 else b""
        entries += struct.pack("<HHI", tag, code, len(found)) + place
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + beyond + data


def animation(format_, count=5, size=(8, 12), durations=100):
    """Encode grey frames 0, 40, 80 ... of a lossless animation, or the pages of a TIFF."""
    stills = [Image.fromarray(np.full((*size, 3), 40 * t, np.uint8)) for t in range(count)]
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(format_, {})
    timed = {} if format_ == "TIFF" else {"duration": durations}
    stream = BytesIO()
    stills[0].save(stream, format_, save_all=True, append_images=stills[1:], **timed, **options)
    return stream.getvalue()
