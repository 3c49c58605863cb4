"""Freed memory is returned to the kernel."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from invertory.pipelines import materialize
from invertory.pipelines.progress.memory import give_back
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.images import Images
from invertory.pipelines.tables.stage import Stage

BLOCK_BYTES, NUM_BLOCKS = 64 << 10, 1024  # 64 MB in blocks that glibc takes from its heap


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_free_memory_below_a_used_block_is_released() -> None:
    glibc = ctypes.CDLL("libc.so.6")
    glibc.malloc.restype = ctypes.c_void_p
    glibc.free.argtypes = [ctypes.c_void_p]
    blocks = [glibc.malloc(BLOCK_BYTES) for _ in range(NUM_BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks[:-1]:  # the last one keeps glibc from shortening its heap by itself
        glibc.free(block)
    kept = resident_bytes()
    give_back()
    glibc.free(blocks[-1])
    assert kept - resident_bytes() > 0.8 * BLOCK_BYTES * NUM_BLOCKS


def test_a_step_releases_the_memory_of_the_previous_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class GivenBackError(Exception):
        pass

    def given_back() -> None:
        raise GivenBackError

    monkeypatch.setattr(materialize, "give_back", given_back)
    monkeypatch.setattr(materialize, "tag_served", lambda *_: None)
    stage = Stage(page=Images(), recipe="r", table="images")
    context: Any = SimpleNamespace(partition_key="shard-000001", instance=None, run=None)
    nothing: Any = None  # it comes before all else
    with pytest.raises(GivenBackError):
        next(materialize.materialize(context, Chain("r", (stage,)), stage, nothing, nothing))
