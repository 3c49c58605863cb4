"""A flipped bit anywhere in a table file is an error, never another value."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.resources import parquet
from invertory.resources.parquet import (
    read_file,
    read_footer,
    read_metadata,
    verify_file,
    write_file,
)
from invertory.resources.seals import CorruptFileError, content_digest
from invertory.resources.verified_file import VerifiedFile

LATENT = pa.list_(pa.list_(pa.field("item", pa.float32(), False), 4), 3)
SCHEMA = pa.schema([
    pa.field("crop_id", pa.string(), False),
    pa.field("latent", LATENT, False),
    pa.field("picture", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    pa.field("seed", pa.int64()),
])  # fmt: skip
FOOTER = {"key": "a" * 64, "config": '{"steps": 25}'}
LOCAL = fsspec.filesystem("file")


def rows(number: int) -> pa.RecordBatch:
    draw = random.Random(number)
    made = [
        {
            "crop_id": f"{i}:0",
            "latent": [[draw.random() for _ in range(4)] for _ in range(3)],
            "picture": {"bytes": draw.randbytes(40), "path": None},
            "seed": None if i % 7 == 0 else i,
        }
        for i in range(number)
    ]
    return pa.RecordBatch.from_pylist(made, schema=SCHEMA)


def written(folder: Path, number: int = 300) -> Path:
    path = folder / "shard.parquet"
    write_file(LOCAL, str(path), [rows(number)], SCHEMA, FOOTER)
    return path


def read(path: Path) -> tuple[pa.Table, dict[str, str]]:
    metadata = read_metadata(LOCAL, str(path))
    if metadata is None:
        raise CorruptFileError(str(path), "no footer")
    batches = list(read_file(LOCAL, str(path), None, 64))
    return pa.Table.from_batches(batches, SCHEMA), read_footer(metadata)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_never_reads_back_as_another_value(tmp_path: Path, seed: int) -> None:
    path = written(tmp_path)
    whole, expected = path.read_bytes(), read(path)
    noticed = 0
    for bit in random.Random(seed).sample(range(len(whole) * 8), 150):
        flip(path, bit)
        with pytest.raises(CorruptFileError):
            verify_file(LOCAL, str(path))
        try:
            assert read(path)[0].equals(expected[0])
            assert read(path)[1] == expected[1]
        except CorruptFileError as error:
            assert str(path) in str(error)
            noticed += 1
        path.write_bytes(whole)
    assert noticed > 140  # the rest hit the page index or the first four bytes, which no row needs


def test_every_bit_of_the_footer_is_covered(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    whole = path.read_bytes()
    size = int.from_bytes(whole[-8:-4], "little") + 8
    for bit in range((len(whole) - size) * 8, len(whole) * 8, 3):
        flip(path, bit)
        assert read_metadata(LOCAL, str(path)) is None, bit
        path.write_bytes(whole)


def test_columns_that_are_not_read_are_not_compared(tmp_path: Path) -> None:
    path = written(tmp_path)
    column = pq.read_metadata(path).row_group(0).column(1)
    flip(path, (column.data_page_offset + column.total_compressed_size // 2) * 8)
    seeds = [batch.column("seed") for batch in read_file(LOCAL, str(path), ["seed"], 64)]
    assert sum(map(len, seeds)) == 300
    with pytest.raises(CorruptFileError, match="do not match their checksum"):
        list(read_file(LOCAL, str(path), ["latent"], 64))


def test_parquets_own_page_checksums_are_there_for_other_readers(tmp_path: Path) -> None:
    path = written(tmp_path)
    column = pq.read_metadata(path).row_group(0).column(1)
    flip(path, (column.data_page_offset + column.total_compressed_size - 9) * 8)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_file_without_checksums_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    named = {f"invertory.{name}": text for name, text in FOOTER.items()}
    pq.write_table(pa.Table.from_batches([rows(300)]).replace_schema_metadata(named), path)
    table, footer = read(path)
    assert table.equals(pa.Table.from_batches([rows(300)]))
    assert footer == FOOTER
    verify_file(LOCAL, str(path))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CorruptFileError):
        verify_file(LOCAL, str(path))


@pytest.mark.parametrize("number", [0, 1, 256, 257])
def test_sealed_files_are_plain_parquet(tmp_path: Path, number: int) -> None:
    path = written(tmp_path, number)
    assert pq.read_table(path).replace_schema_metadata(None).num_rows == number
    assert read(path) == (pa.Table.from_batches([rows(number)]), FOOTER)
    verify_file(LOCAL, str(path))


def test_the_digest_of_the_rows_does_not_depend_on_the_footer(tmp_path: Path) -> None:
    digests = set()
    for number in (1, 2):
        path = str(tmp_path / f"{number}.parquet")
        write_file(LOCAL, path, [rows(20)], SCHEMA, FOOTER | {"run_id": str(number)})
        digests.add(content_digest(read_metadata(LOCAL, path)))
    assert len(digests) == 1
    assert None not in digests


def test_a_file_on_an_object_store_is_verified_too() -> None:
    fs, path = fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}/shard.parquet"
    write_file(fs, path, [rows(30)], SCHEMA, FOOTER)
    verify_file(fs, path)
    data = bytearray(fs.cat_file(path))
    data[len(data) // 3] ^= 1
    fs.pipe_file(path, bytes(data))
    with pytest.raises(CorruptFileError, match=path):
        list(read_file(fs, path, None, 64))


def test_a_read_of_another_extent_than_a_chunk_is_verified(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("rb") as file:
        footer = parquet.read_verified(file, str(path))
        start, (size, _) = next(iter(footer.chunks.items()))
        opened = VerifiedFile(file, str(path), footer)
        opened.seek(start + 1)
        assert opened.read(size) == path.read_bytes()[start + 1 : start + 1 + size]
        assert opened.tell() == start + 1 + size
    flip(path, (start + size // 2) * 8)
    with path.open("rb") as file:
        opened = VerifiedFile(file, str(path), footer)
        opened.seek(start + 1)
        with pytest.raises(CorruptFileError):
            opened.read(2)
