"""Writers of the exported set: WebDataset tars, an image folder or Parquet, one row at a time.

The caller opens the files: `create(name)` returns a context manager with a binary sink, and the
file gets its name only if the block ends without an error. `manifest.json` is written last: a set
without it is incomplete. Equal rows give equal bytes.
"""

import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from invertory.ops.schemas import EXPORTED

Create = Callable[[str], AbstractContextManager[BinaryIO]]
SetFormat = Literal["webdataset", "imagefolder", "parquet"]

MAGIC: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}
ROW_GROUP_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of the exported set."""

    name: str
    num_rows: int
    size_bytes: int
    sha256: str


class Digest(io.RawIOBase):
    """A sink that counts and hashes the bytes it writes to another sink, which stays open."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size_bytes

    def write(self, data: Any) -> int:
        self._hash.update(data)
        self._sink.write(data)
        self.size_bytes += len(memoryview(data).cast("B"))
        return len(memoryview(data).cast("B"))

    def written(self, name: str, num_rows: int) -> WrittenFile:
        return WrittenFile(name, num_rows, self.size_bytes, self._hash.hexdigest())


def write_set(
    format: SetFormat,
    batches: Iterable[pa.RecordBatch],
    create: Create,
    sheets: Mapping[str, str],
    *,
    rows_per_file: int = 1000,
) -> list[WrittenFile]:
    """EXPORTED rows => the files of a set; `sheets` maps names such as datasheet.md to texts."""
    if format not in WRITERS:
        raise ValueError(f"expected a format among {', '.join(WRITERS)}, got {format!r}")
    files = list(WRITERS[format](batches, create, rows_per_file))
    num_rows = sum(file.num_rows for file in files)
    if not num_rows:
        raise ValueError(
            "expected rows to export, got none; with counts 'balanced' every (target, protected) "
            "group needs rows: augment more, or use counts 'all'"
        )
    files += [_write_text(create, name, text) for name, text in sheets.items()]
    manifest = {"format": format, "num_rows": num_rows, "files": [asdict(file) for file in files]}
    return [*files, _write_text(create, "manifest.json", json.dumps(manifest, indent=2) + "\n")]


def write_webdataset(
    batches: Iterable[pa.RecordBatch], create: Create, rows_per_file: int
) -> Iterator[WrittenFile]:
    """Write `train-000000.tar`, ...: <key>.json and <key>.<png|jpg|webp> for each row."""
    for number, parts in _by_file(batches, rows_per_file):
        name, num_rows = f"train-{number:06d}.tar", 0
        with _creating(create, name) as sink, tarfile.open(fileobj=sink, mode="w|") as tar:
            for row in _rows(parts):
                image_bytes = row.pop("image")["bytes"]
                _add(tar, f"{_key(row)}.json", json.dumps(row).encode())
                _add(tar, f"{_key(row)}.{_suffix(image_bytes)}", image_bytes)
                num_rows += 1
        yield sink.written(name, num_rows)


def write_image_folder(
    batches: Iterable[pa.RecordBatch], create: Create, rows_per_file: int
) -> Iterator[WrittenFile]:
    """Write `train/00000/<key>.png` and `train/metadata.jsonl` with one line per image."""
    num_rows = 0
    with _creating(create, "train/metadata.jsonl") as lines:
        for number, parts in _by_file(batches, rows_per_file):
            for row in _rows(parts):
                image_bytes = row.pop("image")["bytes"]
                name = f"{number:05d}/{_key(row)}.{_suffix(image_bytes)}"
                with _creating(create, f"train/{name}") as sink:
                    sink.write(image_bytes)
                lines.write(json.dumps({"file_name": name, **row}).encode() + b"\n")
                num_rows += 1
                yield sink.written(f"train/{name}", 1)
    yield lines.written("train/metadata.jsonl", 0)


def write_parquet(
    batches: Iterable[pa.RecordBatch], create: Create, rows_per_file: int
) -> Iterator[WrittenFile]:
    """Write `train-000000.parquet`, ...; metadata tells `datasets` that `image` is an image."""
    # `datasets` reads its metadata only for nullable fields
    fields = [field.with_nullable(True) for field in EXPORTED]
    schema = pa.schema(fields, {b"huggingface": json.dumps(_features()).encode()})
    for number, parts in _by_file(batches, rows_per_file):
        name, num_rows = f"train-{number:06d}.parquet", 0
        with (
            _creating(create, name) as sink,
            pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=False) as writer,
        ):
            for part in parts:
                batch = pa.RecordBatch.from_arrays(part.columns, schema=schema)
                writer.write_batch(batch, ROW_GROUP_ROWS)
                num_rows += part.num_rows
        yield sink.written(name, num_rows)


WRITERS: Final[dict[SetFormat, Callable[..., Iterator[WrittenFile]]]] = {
    "webdataset": write_webdataset,
    "imagefolder": write_image_folder,
    "parquet": write_parquet,
}


def _by_file(
    batches: Iterable[pa.RecordBatch], rows_per_file: int
) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Split the stream every `rows_per_file` rows: (file number, its batches)."""
    for number, parts in itertools.groupby(_cut(batches, rows_per_file), key=lambda part: part[0]):
        yield number, (batch for _, batch in parts)


def _cut(
    batches: Iterable[pa.RecordBatch], rows_per_file: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    done = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, rows_per_file - done % rows_per_file)
            yield done // rows_per_file, part
            done += part.num_rows
            batch = batch.slice(part.num_rows)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for i in range(batch.num_rows):
            yield from batch.slice(i, 1).to_pylist()  # one image in memory at a time


@contextmanager
def _creating(create: Create, name: str) -> Iterator[Digest]:
    with create(name) as sink:
        yield Digest(sink)


def _write_text(create: Create, name: str, text: str) -> WrittenFile:
    with _creating(create, name) as sink:
        sink.write(text.encode())
    return sink.written(name, 0)


def _key(row: Mapping[str, Any]) -> str:
    """Return the file name of a sample, without colons or dots (a dot ends a WebDataset key)."""
    return str(row["sample_id"]).replace(":", "_").replace(".", "_").replace("/", "_")


def _suffix(image_bytes: bytes) -> str:
    for magic, suffix in MAGIC.items():
        if image_bytes.startswith(magic):
            return suffix
    raise ValueError(
        f"expected an image of type {', '.join(MAGIC.values())}, got bytes {image_bytes[:8]!r}; "
        "set the crop format to one of these"
    )


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # mtime 0 and no owner: equal rows give equal bytes
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _features() -> dict[str, Any]:
    kinds = {pa.string(): "string", pa.bool_(): "bool"}
    features = {
        field.name: {"_type": "Image"}
        if field.name == "image"
        else {"dtype": kinds[field.type], "_type": "Value"}
        for field in EXPORTED
    }
    return {"info": {"features": features}}
