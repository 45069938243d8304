import os
from pathlib import Path

import torch

from src.files.results.fingerprint import fingerprint, tensor_fingerprint


def test_a_file_is_known_by_its_content_and_not_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    first, times = fingerprint(path), path.stat()
    os.utime(path, (1, 1))
    assert fingerprint(path) == first and first is not None and first["bytes"] == 3
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(path) != first
    assert fingerprint(tmp_path / "none") is None


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "0.png").write_bytes(b"0")
    (tmp_path / "a" / "deep" / "1.png").write_bytes(b"1")
    first = fingerprint(tmp_path / "a")
    (tmp_path / "a" / ".DS_Store").touch()
    assert fingerprint(tmp_path / "a") == first and first is not None and first["bytes"] == 2
    (tmp_path / "a" / "0.png").rename(tmp_path / "a" / "2.png")
    assert fingerprint(tmp_path / "a") != first


def test_tensors_are_known_by_name_type_shape_and_values() -> None:
    tensors = {"a": torch.arange(4), "scalar": torch.tensor(1.0), "half": torch.ones(2, dtype=torch.bfloat16)}
    first = tensor_fingerprint(tensors)
    assert first == tensor_fingerprint(dict(reversed(tensors.items()))) and first["bytes"] == 32 + 4 + 4
    others = [
        {"b": torch.arange(4)},
        {"a": torch.arange(4).view(2, 2)},
        {"a": torch.arange(4).flip(0)},
        {"a": torch.arange(4).int()},
    ]
    found = [tensor_fingerprint(tensors | change)["sha256"] for change in others] + [
        tensor_fingerprint(tensors, "note")["sha256"]
    ]
    assert first["sha256"] not in found and len(set(found)) == 5
