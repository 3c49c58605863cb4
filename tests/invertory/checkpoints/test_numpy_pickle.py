"""Arrays are read from a pickle; nothing in it runs."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from invertory.checkpoints.numpy_pickle import UnsafePickleError, read_numpy_pickle


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_nested_arrays_come_back_under_joined_names(tmp_path: Path, protocol: int) -> None:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tree = {"net": {"conv": {"kernel": kernel, "bias": np.float64([1, 2])}}, "n": np.int64([3])}
    found = read_numpy_pickle(write(tmp_path / "a.ckpt", tree, protocol))
    assert sorted(found) == ["n", "net/conv/bias", "net/conv/kernel"]
    np.testing.assert_array_equal(found["net/conv/kernel"], kernel)
    assert found["net/conv/kernel"].dtype == np.float32


def test_fortran_order_and_big_endian_keep_their_values(tmp_path: Path) -> None:
    a = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    b = np.arange(4, dtype=">f4")
    found = read_numpy_pickle(write(tmp_path / "a.ckpt", {"a": a, "b": b}, 3))
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)


class CallsSystem:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_that_calls_os_system_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path / "evil.ckpt", {"weights": CallsSystem(mark)})
    with pytest.raises(UnsafePickleError, match="system"):
        read_numpy_pickle(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"a": OrderedDict(b=1)},
        {"a": np.array([object()], dtype=object)},
        {"a": 3},
        [np.zeros(2)],
        {"a": eval},
        {"a": np.ma.masked_array([1.0])},
        {"a": np.array(["text"])},
    ],
    ids=["class", "objects", "number", "list", "builtin", "masked", "text"],
)
def test_anything_but_arrays_of_numbers_in_dicts_is_refused(
    tmp_path: Path, content: object
) -> None:
    with pytest.raises(UnsafePickleError):
        read_numpy_pickle(write(tmp_path / "a.ckpt", content, 3))


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", {"a": np.zeros(100)}, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnsafePickleError, match="expected a pickle of numpy arrays"):
        read_numpy_pickle(path)
