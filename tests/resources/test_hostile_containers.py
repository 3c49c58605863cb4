"""Malicious archives: a bad member is one row with a reason, and the rest is read."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import tempfile
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.resources.sources import ImageSource

GOOD = {"a.png": b"first", "m.png": b"middle" * 200, "z.png": b"last"}


def header(name: str, size: int = 0, **about: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in about.items():
        setattr(info, field, value)
    return info


def raw(info: tarfile.TarInfo) -> bytearray:
    return bytearray(info.tobuf(tarfile.GNU_FORMAT))


def stamped(block: bytearray) -> bytes:
    """Return the header with a valid checksum."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def field(first: int, end: int, value: bytes) -> bytes:
    """The header of x.png, 5 bytes long, with one field replaced, and its data."""
    block = raw(header("x.png", 5))
    block[first:end] = value.ljust(end - first, b"\0")
    return stamped(block) + b"data.".ljust(512, b"\0")


def pax(**records: str) -> bytes:
    info = header("x.png", 5, pax_headers=records)
    return info.tobuf(tarfile.PAX_FORMAT) + b"data.".ljust(512, b"\0")


def member(name: str, data: bytes) -> bytes:
    return bytes(raw(header(name, len(data)))) + data + bytes(-len(data) % 512)


def tar_with(odd: bytes) -> bytes:
    """A valid member, the odd one, and two valid members."""
    names = list(GOOD)
    parts = [member(names[0], GOOD[names[0]]), odd, *(member(n, GOOD[n]) for n in names[1:])]
    return b"".join(parts) + bytes(1024)


HARMLESS = {
    "mtime of the year 300000": field(136, 148, b"\x80" + (9 << 40).to_bytes(11, "big")),
    "negative mtime": field(136, 148, b"\xff" * 12),
    "mtime no number": field(136, 148, b"yesterday"),
    "uid no number": field(108, 116, b"root"),
    "gid no number": field(116, 124, b"wheel"),
    "device numbers": field(329, 345, b"xxxxxxxxyyyyyyy"),
    "pax mtime nan": pax(mtime="nan"),
    "pax mtime infinite": pax(mtime="1e999"),
    "pax mtime -1e300": pax(mtime="-1e300"),
    "pax uid": pax(uid="-5"),
}


@pytest.mark.parametrize("odd", HARMLESS)
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_odd_times_and_owners_change_nothing(tmp_path: Path, odd: str, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    data = tar_with(HARMLESS[odd])
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    source = ImageSource(uri=str(path))
    found = {entry.uri.rpartition("::")[2]: source.read(entry.uri) for entry in source.entries()}
    assert found == {**GOOD, "x.png": b"data."}


def chained(number: int) -> bytes:
    """A chain of extended headers."""
    return b"".join(stamped(_typed(b"L", 1)) + b"n".ljust(512, b"\0") for _ in range(number))


def _typed(kind: bytes, size: int) -> bytearray:
    block = raw(header("x", size))
    block[156:157] = kind
    return block


def sparse() -> bytes:
    block = raw(header("x.png", 0, type=tarfile.GNUTYPE_SPARSE))
    block[483:495] = b"77777777777\0"
    return stamped(block)


BAD = {
    "negative size": field(124, 136, b"\xff" * 11 + b"\x00"),
    "size no number": field(124, 136, b"large"),
    "bad checksum": bytes(raw(header("x.png", 5)))[:200].ljust(512, b"\1") + bytes(512),
    "noise": bytes(range(256)) * 4,
    "endless extended headers": chained(3000) + member("y.png", b"the last of them names it"),
    "an extended header of 8 GB": stamped(_typed(b"x", 8**11 - 1)),
    "pax size no number": pax(**{"GNU.sparse.map": "a,b", "GNU.sparse.size": "x"}),
    "sparse": sparse(),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_bad_member_is_one_row_with_a_reason(tmp_path: Path, bad: str, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    data = tar_with(BAD[bad])
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    source = ImageSource(uri=str(path))
    found: dict[str, Any] = {}
    for entry in source.entries():
        name = entry.uri.rpartition("::")[2]
        try:
            found[name] = source.read(entry.uri)
        except OSError as error:
            assert error.errno == errno.EBADMSG
            found[name] = str(error)
    assert {name: found.pop(name) for name in GOOD} == GOOD
    assert [reason for reason in found.values() if isinstance(reason, str)]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
                                  tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])  # fmt: skip
def test_links_and_devices_are_skipped(tmp_path: Path, kind: bytes) -> None:
    odd = bytes(raw(header("x.png", type=kind, linkname="/etc/hostname")))
    (tmp_path / "p.tar").write_bytes(tar_with(odd))
    source = ImageSource(uri=str(tmp_path / "p.tar"))
    names = [entry.uri.rpartition("::")[2] for entry in source.entries()]
    assert names == list(GOOD)


def test_a_nested_archive_is_a_member_like_any_other(tmp_path: Path) -> None:
    inner = tar_with(b"")
    (tmp_path / "p.tar").write_bytes(tar_with(member("n.tar", inner)))
    source = ImageSource(uri=str(tmp_path / "p.tar"))
    assert len(list(source.entries())) == 4
    assert source.read(f"{tmp_path}/p.tar::n.tar") == inner


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_truncated_compressed_tar_gives_the_members_before_the_end(
    tmp_path: Path, ending: str
) -> None:
    noise = os.urandom(300_000)
    packed = PACKERS[ending](tar_with(member("n.png", noise)))
    (tmp_path / f"p{ending}").write_bytes(packed)
    source = ImageSource(uri=str(tmp_path / f"p{ending}"))
    assert {source.read(entry.uri) for entry in source.entries()} == {*GOOD.values(), noise}
    (tmp_path / f"cut{ending}").write_bytes(packed[: len(packed) // 2])
    source = ImageSource(uri=str(tmp_path / f"cut{ending}"))
    try:
        entries = list(source.entries())
    except OSError as error:  # a format of one block gives nothing of it
        assert "expected a complete tar" in str(error)
        return
    with pytest.raises(OSError, match=r"broken|cut"):
        [source.read(entry.uri) for entry in entries]


@pytest.mark.parametrize("ending", PACKERS)
def test_a_bomb_is_not_written(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invertory.resources.unpacking.FREE_BYTES", 8 << 20)
    written: list[Any] = []
    make = tempfile.TemporaryFile

    def noted() -> Any:
        written.append(make())
        return written[-1]

    monkeypatch.setattr("invertory.resources.containers.tempfile.TemporaryFile", noted)
    large = bytes(raw(header("x.png", 64 << 20))) + bytes(64 << 20)
    (tmp_path / f"p{ending}").write_bytes(PACKERS[ending](tar_with(large)))
    source = ImageSource(uri=str(tmp_path / f"p{ending}"), max_bytes=4 << 20)
    tracemalloc.start()
    try:
        entries = {entry.uri.rpartition("::")[2]: entry for entry in source.entries()}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert os.fstat(written[0].fileno()).st_size < 4 << 20
    assert source.read(entries["a.png"].uri) == GOOD["a.png"]
    with pytest.raises(OSError, match="expected at most") as caught:
        source.read(entries["x.png"].uri)
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(OSError, match="unpacks to more than"):
        source.read(entries["(rest of the tar)"].uri)


def arrays() -> dict[str, pa.Array]:
    cells = [b"0", b"11", b"0"]
    structs = [{"bytes": cell, "path": "x.png"} for cell in cells]
    views = pa.array(cells, pa.binary_view())
    return {
        "binary": pa.array(cells, pa.binary()),
        "large_binary": pa.array(cells, pa.large_binary()),
        "binary_view": views,
        "dictionary": pa.array(cells).dictionary_encode(),
        "struct": pa.array(structs),
        "struct of views": pa.StructArray.from_arrays(
            [views, pa.array(["x"] * 3, pa.string_view())], ["bytes", "path"]
        ),
        "struct of dictionaries": pa.StructArray.from_arrays(
            [pa.array(cells).dictionary_encode(), pa.array(["x"] * 3)], ["bytes", "path"]
        ),
        "nested": pa.array([{"image": one, "label": 1} for one in structs]),
        "fixed": pa.array([b"0", b"1", b"0"], pa.binary(1)),
    }


@pytest.mark.parametrize("kind", arrays())
def test_parquet_columns_of_every_layout_hold_images(tmp_path: Path, kind: str) -> None:
    ids = pa.array(["a", "b", "c"], pa.string_view())
    path = tmp_path / "p.parquet"
    group_rows = 3 if "views" in kind else 2  # Arrow cannot slice views in structs
    pq.write_table(pa.table({"image": arrays()[kind], "id": ids}), path, row_group_size=group_rows)
    source = ImageSource(uri=str(path), id_column="id")
    read = [source.read(entry.uri) for entry in source.entries()]
    assert read == ([b"0", b"1", b"0"] if kind == "fixed" else [b"0", b"11", b"0"])


def test_a_named_column_must_contain_images(tmp_path: Path) -> None:
    table = pa.table({"image": [b"x"], "text": ["y"]})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"called 'text'.*got \['image'\]"):
        list(ImageSource(uri=str(tmp_path / "p.parquet"), column="text").entries())


def test_a_bomb_or_broken_row_group_loses_only_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invertory.resources.containers.FREE_BYTES", 1 << 20)
    path = tmp_path / "p.parquet"
    table = pa.table({"image": [b"first" * 99, bytes(4 << 20), b"third" * 99]})
    pq.write_table(table, path, row_group_size=1, compression="zstd", use_dictionary=False)
    chunk = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data = bytearray(path.read_bytes())
    end = chunk.data_page_offset + chunk.total_compressed_size
    data[end - 8 : end] = b"\xff" * 8
    path.write_bytes(data)
    source = ImageSource(uri=str(path))
    first, bomb, broken = (entry.uri for entry in source.entries())
    assert source.read(first) == b"first" * 99
    with pytest.raises(OSError, match="unpacks from"):
        source.read(bomb)
    with pytest.raises(OSError, match="row group 2 is broken"):
        source.read(broken)
    assert source.read(first) == b"first" * 99


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[str]:
    """A folder with a file nested 1,500 folders deep."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("x.png", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, b"deep")
    os.close(file)
    os.close(here)
    yield str(tmp_path)
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # Python's own is too deep


def test_folders_may_be_nested_beyond_the_recursion_limit(deep: str) -> None:
    source = ImageSource(uri=deep)
    (entry,) = source.entries()
    assert source.read(entry.uri) == b"deep"


def test_remote_folders_may_be_nested_as_deep() -> None:
    root = f"/{uuid.uuid4().hex}"
    fsspec.filesystem("memory").pipe_file(root + "/d" * 1500 + "/x.png", b"deep")
    source = ImageSource(uri=f"memory:/{root}")
    (entry,) = source.entries()
    assert source.read(entry.uri) == b"deep"


def test_many_members_use_little_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(20_000):
            tar.addfile(header(f"{number:06d}.png", 1), io.BytesIO(b"x"))
    source = ImageSource(uri=str(tmp_path / "p.tar"))
    assert sum(1 for _ in source.entries()) == 20_000
    assert source.read(f"{tmp_path}/p.tar::019999.png") == b"x"


def test_a_broken_container_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "1.tar").write_bytes(b"no tar at all")
    (tmp_path / "2.parquet").write_bytes(b"PAR1 no table PAR1")
    (tmp_path / "3.tar").write_bytes(tar_with(b""))
    source = ImageSource(uri=str(tmp_path / "*"))
    tar, parquet, *good = (entry.uri for entry in source.entries())
    assert [source.read(uri) for uri in good] == list(GOOD.values())
    assert (tar, parquet) == (f"{tmp_path}/1.tar::", f"{tmp_path}/2.parquet::")
    with pytest.raises(OSError, match="expected a complete tar"):
        source.read(tar)
    with pytest.raises(ValueError, match="Parquet"):
        source.read(parquet)
