import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.weights.tensor_files import read_tensors

ARRAYS = {
    "float32": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "float64": np.array([1e-300, np.pi, -np.inf]),
    "half": np.array([[0.5]], np.float16),
    "int64": np.array(7),
    "bool": np.array([True, False]),
    "uint8": np.arange(5, dtype=np.uint8),
    "big_endian": np.arange(4, dtype=">f4"),
    "columns_first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 4), np.float32),
    "number": np.float32(2.5),
}


def same(found: dict[str, torch.Tensor], expected: dict[str, Any] = ARRAYS) -> bool:
    assert set(found) == set(expected)
    return all(np.array_equal(value.numpy(), expected[name]) and value.is_contiguous() for name, value in found.items())


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_numpy_arrays_come_back_bit_by_bit(tmp_path: Path, protocol: int, wrapper: str | None) -> None:
    content: object = OrderedDict(ARRAYS)
    if wrapper:
        content = {wrapper: content, "__author__": "third_party", "matching_heuristics": True, "iteration": [1, 2.5, None, {"a"}]}
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(content, protocol))
    found = read_tensors(tmp_path / "weights.pkl")
    assert same(found)
    assert found["big_endian"].dtype == torch.float32 and found["int64"].dtype == torch.int64
    found["float32"].add_(1)  # memory of its own


def test_files_of_older_numpy_and_of_python_2_are_read(tmp_path: Path) -> None:
    new = pickle.dumps({"a": np.array([1.5, 2.5], np.float32)}, 2)
    numpy_1 = new.replace(b"numpy._core", b"numpy.core")
    assert numpy_1 != new
    # Python 2 had no bytes: names and data are short strings (U).
    python_2 = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + np.array([1.5, 2.5], "<f4").tobytes() + b"tbs."
    )
    for number, data in enumerate((numpy_1, python_2)):
        (tmp_path / f"{number}.pkl").write_bytes(data)
        assert read_tensors(tmp_path / f"{number}.pkl")["a"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_come_back_bit_by_bit(tmp_path: Path, zipped: bool) -> None:
    tensors = OrderedDict(a=torch.randn(3, 2), b=torch.tensor(3), c=torch.nn.Parameter(torch.randn(2)), d=torch.randn(2).half())
    trainer = {"iteration": 9, "hooks": {"best": np.float64(0.25), "history": np.arange(3.0)}, "scheduler": {"base_lrs": [1e-4]}}
    path = tmp_path / "model.pth"
    torch.save({"model": tensors, "trainer": trainer}, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    assert all(torch.equal(found[name], value) and not found[name].requires_grad for name, value in tensors.items())


class Call:
    """Object that calls a function when unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


COMMAND = "touch exploded"
BOMBS = {
    "os.system": lambda: Call(os.system, COMMAND),
    "eval": lambda: Call(eval, "open('exploded', 'w').close()"),
    "getattr": lambda: Call(getattr, COMMAND, "upper"),
    "in an array": lambda: np.array([Call(os.system, COMMAND)], dtype=object),
    "in a type": lambda: np.dtype([("a", "O")]),
    "in a record": lambda: np.zeros(1, np.dtype([("a", "f4")])),
    "another pickle": lambda: Call(pickle.loads, pickle.dumps(Call(os.system, COMMAND))),
    "torch": lambda: Call(torch.load, "other.pth"),
    "numpy": lambda: Call(np.load, "other.npy", None, True),
}


def write_bomb(path: Path, kind: str, bomb: object) -> None:
    content = {"model": {"a": torch.zeros(1) if kind.startswith("torch") else np.zeros(1), "b": [{"c": (bomb,)}]}}
    if kind.startswith("torch"):
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch zip")
    else:
        path.write_bytes(pickle.dumps(content, int(kind[-1])))


@pytest.mark.parametrize("kind", ["pickle 0", "pickle 2", "pickle 4", "pickle 5", "torch zip", "torch legacy"])
@pytest.mark.parametrize("name", BOMBS)
def test_nothing_in_a_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bomb.pth"
    write_bomb(path, kind, BOMBS[name]())
    with pytest.raises(ValueError, match=r"bomb\.pth cannot be read: .*; expected only tensors, numbers and containers") as error:
        read_tensors(path)
    assert "weights_only=False" not in str(error.value) and "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["bomb.pth"]


@pytest.mark.parametrize("kind", ["pickle 2", "torch zip", "torch legacy"])
def test_the_bombs_are_real_and_the_error_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_bomb(tmp_path / "bomb.pth", kind, BOMBS["os.system"]())
    with pytest.raises(ValueError, match=r"refers to (posix|nt)\.system"):
        read_tensors("bomb.pth")
    assert not Path("exploded").exists()
    load = pickle.loads if kind == "pickle 2" else lambda _: torch.load("bomb.pth", weights_only=False)
    load(Path("bomb.pth").read_bytes())
    assert Path("exploded").exists()


def crafted(function: str, *arguments: object) -> bytes:
    """Return a hand-written pickle that calls ``function`` by name."""
    module, name = function.rsplit(".", 1)
    call = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02}X\x01\x00\x00\x00a" + f"c{module}\n{name}\n".encode() + call + b"Rs."


@pytest.mark.parametrize(
    "data",
    [
        crafted("numpy.core.multiarray.scalar", np.dtype("O"), b"12345678"),
        crafted("numpy.core.multiarray.scalar", np.dtype("f4"), b"12345678"),
        crafted("numpy.core.multiarray.scalar", "f4", b"1234"),
        crafted("numpy.dtype", [("a", "O")]),
        crafted("numpy.dtype", "O8"),
        crafted("numpy.core.numeric._frombuffer", b"1234", np.dtype("f4"), (2**62, 4), "C"),
        crafted("numpy.core.numeric._frombuffer", b"1234", np.dtype("f4"), (-1,), "C"),
        crafted("numpy.core.numeric._frombuffer", b"1234", np.dtype("f4"), "abc", "C"),
        crafted("_codecs.encode", "text", "zip"),
        pickle.dumps({"a": np.zeros(3)}, 2).replace(b"K\x03\x85", b"K\x07\x85"),
    ],
)
def test_crafted_numpy_state_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "crafted.pkl").write_bytes(data)
    with pytest.raises(ValueError, match=r"crafted\.pkl cannot be read"):
        read_tensors(tmp_path / "crafted.pkl")


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(100)}}, tmp_path / "whole")
    torch.save({"model": {"a": torch.zeros(100)}}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": np.zeros(100)}))
    wholes = [file.read_bytes() for file in (tmp_path / "whole", tmp_path / "old", tmp_path / "pickle")]
    for number, data in enumerate([b"", b"text", b"PK\x03\x04", *(whole[: len(whole) // 2] for whole in wholes)]):
        path = tmp_path / f"damaged{number}.pth"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"damaged{number}\.pth cannot be read"):
            read_tensors(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth does not exist"):
        read_tensors(tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "contains a list; expected named tensors"),
        ({}, "expected named tensors"),
        ({"model": {"a": torch.zeros(1), "b": 3, "c": None}}, "2 entries are not tensors: b, c"),
        ({"epoch": 3, "network": {"a": torch.zeros(1)}}, "2 entries are not tensors: epoch, network"),
    ],
)
def test_file_without_named_tensors_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message) as error:
        read_tensors(tmp_path / "other.pth")
    assert "other.pth" in str(error.value)
