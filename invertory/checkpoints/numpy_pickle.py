"""Read numpy arrays from a pickle without running anything that the pickle names.

A pickle names functions to call. This reader accepts three names, all numpy's, and replaces each
with a stand-in that only records its arguments. It then builds the array from the recorded bytes.
Any other name is refused before anything is called.
"""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = "biuf"  # bool, signed, unsigned, float: numbers only, never objects


class UnsafePickleError(ValueError):
    """The file contains something other than plain numpy arrays in dicts."""


class _Dtype:
    """Replaces numpy.dtype(code, align, copy) and its state (version, byte order, ...)."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        dtype = np.dtype(str(self.code))
        if dtype.kind not in _KINDS:
            raise UnsafePickleError(f"expected an array of numbers, got dtype {self.code!r}")
        return dtype.newbyteorder(">") if self.order == ">" else dtype


class _Array:
    """Replaces an ndarray; its state is (version, shape, dtype, is_fortran, bytes)."""

    def __init__(self) -> None:
        self.array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise UnsafePickleError(f"expected the bytes of an array, got {type(data).__name__}")
        flat = np.frombuffer(data, dtype.dtype())
        if flat.size != math.prod(shape):
            raise UnsafePickleError(f"expected {shape} values in the array, got {flat.size}")
        self.array = flat.reshape(shape, order="F" if is_fortran else "C").copy()


class _NdarrayName:
    """Replaces the class numpy.ndarray as an argument; it cannot be called."""


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _NdarrayName:
        raise UnsafePickleError("expected a plain numpy.ndarray, got another class of array")
    return _Array()


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # numpy 2
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _Dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise UnsafePickleError(
                f"expected only numpy arrays in dicts, got the name {module}.{name}: do not open "
                "this file with pickle; download the weights from their source again"
            ) from None

    def persistent_load(self, pid: object) -> NoReturn:
        raise UnsafePickleError(f"expected only numpy arrays in dicts, got a reference {pid!r}")


def read_numpy_pickle(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read nested dicts of arrays into one dict, with names joined by '/': 'VGG16_0/Conv_0/bias'.

    Raises `UnsafePickleError` if the file contains anything else.
    """
    with path.open("rb") as file:
        return dict(_flat(_load(file), ""))


def _load(file: BinaryIO) -> object:
    try:
        return _Reader(file).load()
    except UnsafePickleError:
        raise
    except Exception as error:  # a broken pickle may raise nearly anything
        raise UnsafePickleError(f"expected a pickle of numpy arrays, got: {error}") from error


def _flat(node: object, prefix: str) -> list[tuple[str, np.ndarray[Any, Any]]]:
    if isinstance(node, _Array) and node.array is not None:
        return [(prefix, node.array)]
    if not isinstance(node, dict):
        raise UnsafePickleError(
            f"expected dicts and arrays, got {type(node).__name__} at {prefix or 'the top'!r}"
        )
    return [pair for key, child in node.items() for pair in _flat(child, _join(prefix, key))]


def _join(prefix: str, key: object) -> str:
    return f"{prefix}/{key}" if prefix else str(key)
