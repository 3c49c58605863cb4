"""Read .npy files that hold a pickled dict (In-Domain's boundaries) without running their code.

The array in such a file is a 0-d array of Python objects whose one item is the dict. The allowed
names are those of `numpy_pickle`, each replaced with a stand-in.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from invertory.checkpoints.numpy_pickle import UnsafePickleError, _Array, _Dtype, _Reader

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _ObjectArray(_Array):
    """Like `_Array`, but an array of objects, whose state holds a list, keeps its items."""

    items: list[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, data = state
        if not isinstance(data, list):
            super().__setstate__(state)
        elif shape == () and isinstance(dtype, _Dtype) and len(data) == 1:
            self.items = data
        else:
            raise UnsafePickleError(f"expected one object in the array, got shape {shape}")


class _ObjectReader(_Reader):
    def find_class(self, module: str, name: str) -> Any:
        known = super().find_class(module, name)
        return (lambda *_: _ObjectArray()) if name == "_reconstruct" else known


def read_object_npy(data: bytes) -> dict[str, Any]:
    """Read the dict in a 0-d object .npy: arrays as numpy arrays, other values unchanged.

    Raises `UnsafePickleError` if the file contains anything else.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise UnsafePickleError(f"expected .npy version 1 or 2, got {version}")
    HEADERS[version](stream)
    try:
        loaded = _ObjectReader(stream).load()
    except UnsafePickleError:
        raise
    except Exception as error:  # a broken pickle may raise nearly anything
        raise UnsafePickleError(f"expected a pickle of a dict of arrays, got: {error}") from error
    if (
        not isinstance(loaded, _ObjectArray)
        or not loaded.items
        or not isinstance(loaded.items[0], dict)
    ):
        raise UnsafePickleError("expected one dict in the file, got something else")
    return {str(key): _plain(value) for key, value in loaded.items[0].items()}


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, _Array) else value
