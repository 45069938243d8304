import struct

import numpy as np
import pytest
import torch

from src.files.flo import read_flo


def flo(flow: np.ndarray) -> bytes:
    """Encode (H, W, 2) by the format's description."""
    height, width = flow.shape[:2]
    return struct.pack("<fii", 202021.25, width, height) + flow.astype("<f4").tobytes()


def test_vectors_keep_their_pixels(tmp_path):
    flow = np.arange(24, dtype=np.float32).reshape(3, 4, 2) / 4 - 2
    (tmp_path / "a.flo").write_bytes(flo(flow))
    found = read_flo(tmp_path / "a.flo")
    assert found.shape == (2, 3, 4) and found.dtype == torch.float32
    for y, x in ((0, 0), (0, 3), (2, 1)):
        assert found[:, y, x].tolist() == flow[y, x].tolist()


@pytest.mark.parametrize("bad", [1.7e9, -1e10, float("inf"), float("nan")])
@pytest.mark.parametrize("component", [0, 1])
def test_a_vector_with_an_unknown_component_is_unknown(tmp_path, bad, component):
    flow = np.ones((2, 2, 2), np.float32)
    flow[1, 0, component] = bad
    (tmp_path / "a.flo").write_bytes(flo(flow))
    assert read_flo(tmp_path / "a.flo").isnan().tolist() == [[[False, False], [True, False]]] * 2


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "begins with b''"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "begins with b'.x89PNG'"),
        (b"PIEH\0\0", r"6 bytes"),
        (flo(np.zeros((2, 3, 2)))[:-1], r"has 59 bytes; expected 60 for a flow of 2x3"),
        (flo(np.zeros((2, 3, 2))) + b"\0", r"has 61 bytes; expected 60"),
        (struct.pack("<fii", 202021.25, -4, 2), r"2x-4 \(HxW\); expected sides of"),
        # A header that would ask for 32 GiB.
        (struct.pack("<fii", 202021.25, 65535, 65535), "expected 34358689812 for"),
    ],
)
def test_malformed_files_are_refused_by_name(tmp_path, content, message):
    (tmp_path / "a.flo").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.flo .*{message}"):
        read_flo(tmp_path / "a.flo")
    with pytest.raises(FileNotFoundError, match=r"b\.flo does not exist"):
        read_flo(tmp_path / "b.flo")


def test_a_real_file(shared_data):
    flow = read_flo(shared_data / "middlebury" / "RubberWhale" / "flow10.flo")
    assert flow.shape == (2, 388, 584)
    assert 0 < flow.isnan().any(0).float().mean() < 0.2
    assert flow.nan_to_num().norm(dim=0).max() < 6
