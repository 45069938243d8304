"""Reader of ``.flo``, the optical flow format of Middlebury (Baker et al., IJCV 2011) and most flow benchmarks."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_MAGIC = b"PIEH"
"""The float 202021.25 in little endian."""
_HEADER = 12
_LARGEST_SIDE = 1 << 16
_UNKNOWN = 1e9


def read_flo(path: Path) -> Tensor:
    """Read a flow map.

    Convention:
        channel 0 right, channel 1 down, in pixels, stored at the pixels of the first frame and pointing into the second. In this
        project, the first frame is therefore the non-key frame and the second its key frame.

    Args:
        path: a ``.flo`` file: "PIEH", width and height (int32), then (x, y) float32 of each pixel row by row, little endian.

    Returns:
        (2, H, W) float32; NaN where unknown (a component beyond 1e9 in the file, or not finite).

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a ``.flo`` file, or its length disagrees with its header; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a .flo file")
    content = path.read_bytes()
    if content[:4] != _MAGIC or len(content) < _HEADER:
        raise ValueError(
            f"{path} begins with {content[:4]!r} ({len(content)} bytes); expected a .flo file, which begins with {_MAGIC!r}"
        )
    width, height = (int(side) for side in np.frombuffer(content, "<i4", 2, 4))
    if not (0 < width < _LARGEST_SIDE and 0 < height < _LARGEST_SIDE):
        raise ValueError(f"{path} has a header of {height}x{width} (HxW); expected sides of 1..{_LARGEST_SIDE - 1} pixels")
    expected = _HEADER + 8 * width * height
    if len(content) != expected:
        raise ValueError(f"{path} has {len(content)} bytes; expected {expected} for a flow of {height}x{width} (HxW)")
    values = np.frombuffer(content, "<f4", 2 * width * height, _HEADER).astype(np.float32)
    flow = torch.from_numpy(values).reshape(height, width, 2).permute(2, 0, 1).contiguous()
    unknown = ~(flow.abs() <= _UNKNOWN).all(0)
    return flow.masked_fill(unknown, torch.nan)
