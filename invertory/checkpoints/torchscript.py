"""Read tensors from a TorchScript archive without running its program.

The archive is a zip: `data.pkl` names the modules and their values, `data/<key>` holds the tensors'
bytes, and `code/` the program. Only the first two are read. The pickle may use a few names, each of
which is replaced with a stand-in that only records its arguments; any other name is refused before
anything is called.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DTYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
}


class UnsafeArchiveError(ValueError):
    """The file contains something other than modules with tensors of numbers."""


class _Module:
    """Replaces any module of the program: its attributes by name."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values = state


@dataclass(frozen=True)
class _StorageType:
    """Replaces a storage class as an argument; it cannot be called."""

    dtype: str


@dataclass(frozen=True)
class _Storage:
    """The numbers of one member of the archive."""

    values: np.ndarray[Any, Any]


@dataclass(frozen=True)
class _RebuiltTensor:
    tensor: Tensor


def _rebuild(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> _RebuiltTensor:
    """Copy the part of a storage that a tensor covers; row-major tensors only."""
    if not isinstance(storage, _Storage) or not isinstance(size, tuple):
        raise UnsafeArchiveError("expected a tensor's storage and size, got something else")
    count = math.prod(size)
    row_major = tuple(math.prod(size[i + 1 :]) for i in range(len(size)))
    if stride != row_major or not isinstance(offset, int):
        raise UnsafeArchiveError(f"expected strides {row_major} of a tensor, got {stride}")
    flat = storage.values[offset : offset + count]
    if offset < 0 or flat.size != count:
        raise UnsafeArchiveError(f"expected {count} values of a tensor, got {flat.size}")
    return _RebuiltTensor(torch.from_numpy(flat.reshape(size).copy()))


def _nothing(*_: object) -> None:
    """Replaces functions whose result does not matter: lists of integers, hooks."""


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        if (module, name) in {
            ("torch.jit._pickle", "build_intlist"),
            ("collections", "OrderedDict"),
        }:
            return _nothing
        raise UnsafeArchiveError(
            f"expected only modules and tensors of numbers, got the name {module}.{name}: do not "
            "open this file with torch.jit.load; download the weights from their source again"
        )

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", _StorageType(dtype), str(key), str(), int(count)):
                data = self.archive.read(f"{self.folder}/data/{key}")
            case _:
                raise UnsafeArchiveError(f"expected a reference to a tensor's bytes, got {pid!r}")
        if len(data) != count * np.dtype(dtype).itemsize:
            raise UnsafeArchiveError(f"expected {count} values in member {key}, got {len(data)} B")
        return _Storage(np.frombuffer(data, dtype))


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read every tensor, named by its modules joined with dots: 'net.conv.weight'.

    Raises `UnsafeArchiveError` if the archive contains anything else or is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = _folder(archive)
            with archive.open(f"{folder}/data.pkl") as file:
                root = _Reader(file, archive, folder).load()
    except UnsafeArchiveError:
        raise
    except Exception as error:  # a broken pickle may raise nearly anything
        raise UnsafeArchiveError(
            f"expected a TorchScript archive in {path.name}, got: {error}"
        ) from error
    return dict(_tensors(root, ""))


def _folder(archive: zipfile.ZipFile) -> str:
    """Return the only folder at the top of the archive."""
    stems = [name.removesuffix("/data.pkl") for name in archive.namelist() if "/" in name]
    tops = [name for name in stems if "/" not in name]
    if len(tops) != 1:
        raise UnsafeArchiveError(f"expected one data.pkl in the archive, got {len(tops)}")
    return tops[0]


def _tensors(node: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, _RebuiltTensor):
        yield prefix, node.tensor
    elif isinstance(node, _Module):
        for name, child in node.values.items():
            yield from _tensors(child, f"{prefix}.{name}" if prefix else str(name))
