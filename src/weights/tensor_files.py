"""Safe reading of tensors from published files: nothing that a file names is imported or run."""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.files.torch_files import read_torch, reason

_WRAPPERS = ("model", "state_dict")
_ZIP_START = b"PK"
# Magic number at the start of a .pth of torch before 1.6, as pickle writes it.
_LEGACY_TORCH_START = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_NUMBER_CODE = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248])")


class PickledDType:
    """Replacement of ``numpy.dtype`` in a pickle, for plain numbers only.

    ``numpy.dtype`` itself would trust flags and fields of the file; a crafted file could make numpy read bytes as pointers.
    ``code`` is a type code such as ``f4``; ``align`` and ``copy`` have no effect on plain numbers.
    """

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not _NUMBER_CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"numpy type is {code!r}; expected a plain number")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Set the byte order, the only state of plain numbers."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"state of a numpy type is {state!r}; expected the state of a plain number")
        self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """Replacement of ``numpy.ndarray`` in a pickle: created empty, filled by its state."""

    array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        """Build the array from (version, shape, dtype, column order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("state of a numpy array has another form; expected (version, shape, type, order, bytes)")
        _, shape, dtype, column_order, data = state
        self.array = _array(data, dtype, shape, "F" if column_order else "C")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    if isinstance(data, str):
        data = data.encode("latin-1")  # bytes of Python 2
    plain_shape = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not isinstance(dtype, PickledDType) or not isinstance(data, bytes | bytearray) or not plain_shape or order not in "CF":
        raise pickle.UnpicklingError("a numpy array has other elements; expected plain numbers")
    if len(data) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError(f"a numpy array of shape {shape} and type {dtype.dtype} has {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    result = PickledArray()
    result.array = _array(data, dtype, shape, order)
    return result


def _latin1(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding is {encoding!r}; expected latin1, as pickle writes bytes")
    return text.encode("latin-1")


# numpy renamed its inner package in version 2.
_NUMPY = {
    f"numpy.{core}.{name}": replacement
    for core in ("core", "_core")
    for name, replacement in {
        "multiarray._reconstruct": lambda *_: PickledArray(),
        "multiarray.scalar": lambda dtype, data: _array(data, dtype, (), "C")[()],
        "numeric._frombuffer": _from_buffer,
    }.items()
} | {"numpy.ndarray": PickledArray, "numpy.dtype": PickledDType}
# Old pickle protocols have no opcode for sets and empty bytes; Python 2 named the module __builtin__.
_BUILTINS = {f"{module}.{kind.__name__}": kind for module in ("builtins", "__builtin__") for kind in (set, bytes)}
_ALLOWED: dict[str, Any] = {**_NUMPY, **_BUILTINS, "collections.OrderedDict": OrderedDict, "_codecs.encode": _latin1}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of containers, plain values and numpy arrays of numbers; any other name in the file is an error."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in _ALLOWED:
            raise pickle.UnpicklingError(f"its content refers to {name}")
        return _ALLOWED[name]


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.pth`` (torch, old or new format) or ``.pkl`` (numpy arrays, as in detectron2's model zoo).

    The content decides the format. The tensors may be nested under ``model`` or ``state_dict``.

    Returns:
        Tensors by name, on the CPU, in their saved type.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is damaged, contains anything but tensors, arrays of numbers, plain values and containers, or
            contains no named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} {'is no file' if path.exists() else 'does not exist'}; expected a .pth or .pkl of weights"
        )
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_ZIP_START) or _LEGACY_TORCH_START in start:
        # Trainers save numpy numbers beside the weights, such as the best score.
        content = read_torch(path, [(replacement, name) for name, replacement in _NUMPY.items()])
    else:
        content = _read_pickle(path)
    return _named_tensors(content, path)


def _read_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except OSError:
        raise
    # On a damaged file the unpickler raises errors of many types.
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}; expected only tensors, numbers and containers") from None


def _named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} contains a {type(content).__name__}; expected named tensors, at the top or under 'model'")
    tensors = {str(name): _tensor(value) for name, value in content.items()}
    others = [name for name, value in tensors.items() if value is None]
    if others:
        raise ValueError(f"{path}: {len(others)} entries are not tensors: {', '.join(others[:20])}"[:2000])
    return {name: value for name, value in tensors.items() if value is not None}


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        # A view that repeats its values asks for more memory than the file has bytes.
        if value.layout == torch.strided and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            return None
        return value.detach() if value.layout == torch.strided and not value.is_quantized and not value.is_meta else None
    array = value.array if isinstance(value, PickledArray) else value if isinstance(value, np.generic) else None
    if array is None:
        return None
    # Copied, as the bytes are read-only and torch supports only the native byte order.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True))
