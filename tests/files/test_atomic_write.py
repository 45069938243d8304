import os
import zlib

import numpy as np
import pytest

from src.files.atomic_write import atomic_path, write_label_png, write_text
from src.files.images.readers import read_label_png


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.png"
    with pytest.raises(RuntimeError), atomic_path(path) as unfinished:
        assert unfinished.suffix == ".png" and unfinished != path
        unfinished.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as unfinished:
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    write_text(path, "ü")
    assert [p.read_text(encoding="utf-8") for p in path.parent.iterdir()] == ["ü"]


def test_only_what_a_killed_process_left_of_the_same_file_is_deleted(tmp_path):
    path, names = tmp_path / "a.json", [".a.0123abcd.partial.json", ".b.0123abcd.partial.json", ".a.mine.partial.json"]
    for name in names:
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, 0))
    with atomic_path(path) as first:
        os.utime(first, (0, 0))
        write_text(path, "second")
        assert first.exists(), "its process lives"
        first.write_text("first")
    assert path.read_text() == "first"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["a.json", *names[1:]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_keep_their_values_and_have_no_row_filters(tmp_path, dtype):
    values = np.kron(np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (4, 5), dtype), np.ones((9, 9), dtype))
    write_label_png(tmp_path / "a.png", values)
    assert read_label_png(tmp_path / "a.png").tolist() == values.tolist()
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start])
    rows = np.frombuffer(zlib.decompress(content[start + 4 : start + 4 + length]), np.uint8).reshape(len(values), -1)
    assert not rows[:, 0].any(), "each row starts with the number of its filter"


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros((2, 3), np.int64), np.zeros((2, 3, 3), np.uint8)])
def test_arrays_of_other_shapes_and_types_are_not_written(tmp_path, values):
    with pytest.raises(ValueError, match=rf"a\.png: label of {values.ndim} dimensions, {values.dtype}; expected"):
        write_label_png(tmp_path / "a.png", values)
    assert list(tmp_path.iterdir()) == []
