"""Tables are read back in batches, by column, by every reader, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def test_rows_are_read_in_batches_and_columns_as_asked(store, latents):
    latents.write(store, [latents.rows(0, 300)])
    batches = list(store.read("latents/toy", "all", ["seed", "latent"], batch_rows=64))
    assert max(batch.num_rows for batch in batches) <= 64
    assert batches[0].schema.names == ["seed", "latent"]
    read = pa.Table.from_batches(batches).to_pylist()
    assert read == latents.rows(0, 300).select(["seed", "latent"]).to_pylist()
    assert batches[0].schema.field("latent") == latents.schema.field("latent")


def test_row_groups_do_not_depend_on_the_chunks(local, latents):
    latents.publish(local, latents.chunks(700, 30))
    with pq.ParquetFile(local.uri("latents/toy", "shard-000001")) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [256, 256, 118]


def test_unknown_column_and_absent_shard_say_what_there_is(store, latents):
    latents.write(store, [latents.rows(0, 2)])
    with pytest.raises(ValueError, match="expected columns \\['sed'\\]"):
        list(store.read("latents/toy", "all", ["sed"]))
    for call in (
        lambda: list(store.read("latents/toy", "b")),
        lambda: store.num_rows("latents/toy", "b"),
    ):
        with pytest.raises(FileNotFoundError, match=r"got \['all'\]; materialise 'latents/toy'"):
            call()


def test_read_all_and_listings_know_only_what_is_published(store, latents):
    for number in (2, 1):
        shard = f"shard-00000{number}"
        latents.write(store, [latents.rows(number, 1)], shard=shard)
    latents.write(store, [latents.rows(0, 1)], "models")
    assert store.shards("latents/toy") == ["shard-000001", "shard-000002"]
    assert store.tables() == ["latents/toy", "models"]
    assert [batch["seed"].to_pylist() for batch in store.read_all("latents/toy")] == [[1], [2]]
    assert store.shards("edits/toy") == []
    assert list(store.read_all("edits/toy")) == []


def test_every_reader_sees_the_shape(local, latents):
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    latents.write(local, [latents.rows(0, 5)])
    path, expected = local.uri("latents/toy", "all"), np.array(latents.row(4)["latent"], np.float32)
    frame = pandas.read_parquet(path)
    assert np.array_equal(np.stack(frame["latent"][4]), expected)
    [(found,)] = duckdb.sql(f"select latent from '{path}' where seed = 4").fetchall()
    assert np.array_equal(np.array(found, np.float32), expected)


def test_datasets_opens_it_as_tensors(local, tmp_path, latents):
    datasets = pytest.importorskip("datasets")
    latents.write(local, [latents.rows(0, 5)])
    path = local.uri("latents/toy", "all")
    loaded = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert loaded.with_format("numpy")[:]["latent"].shape == (5, *latents.shape)


def test_memory_does_not_grow_with_the_shard(tmp_path):
    """Peak memory of making and reading 64 MB and 192 MB of rows, in a process of its own."""
    script = """
import os, resource, sys
import pyarrow as pa
from invertory.ops.streams import Chunk
from invertory.ops.schemas import REJECTS
from invertory.resources.tables import Store
schema = pa.schema([pa.field("picture", pa.binary(), False)])
store = Store(sys.argv[1], "faces")
none = pa.RecordBatch.from_pylist([], schema=REJECTS)
def chunks(total):
    def after(start):
        for _ in range(start, total, 64):
            rows = [{"picture": os.urandom(125_000)} for _ in range(64)]
            yield Chunk(64, pa.RecordBatch.from_pylist(rows, schema=schema), none)
    return after
def peak(shard, total):
    store.publish("p", shard, schema=schema, key="k" * 64, footer={}, chunks=chunks(total),
                  rejects_schema=REJECTS)
    assert sum(b.num_rows for b in store.read("p", shard, batch_rows=8)) == total
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = peak("a", 512)
print(peak("b", 1536) - small)
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    grown_mb = float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert grown_mb < 64  # the larger shard is 128 MB longer
