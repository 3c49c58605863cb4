"""A table that fails a check is on record, and nothing uses it, in this run or in a later one."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from invertory.ops import schemas
from invertory.ops.streams import Chunk, chunk, reject
from invertory.pipelines.checks import (
    check_results,
    check_specs,
    reject_share,
    require_trusted,
    rows_add_up,
)
from invertory.pipelines.progress.display import Silent
from invertory.pipelines.tables.chain import Keys
from invertory.pipelines.tables.stage_run import StageRun
from invertory.resources.parquet import read_footer
from invertory.resources.tables import Published, Store, reading

SHARD = "shard-000001"
LATENTS, EDITS = "latents/image2stylegan", "edits/image2stylegan"
BOUNDARIES = "boundaries/image2stylegan"
SHARDED = ["images", "aligned", "attributes", LATENTS, EDITS, "augmentation/image2stylegan"]


def failed(done: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """{asset.check: is blocking} of the checks that a run failed."""
    return {
        f"{found.asset_key.path[-1]}.{found.check_name}": found.blocking
        for found in done.get_asset_check_evaluations()
        if not found.passed
    }


def steps(done: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> list[str]:
    return [str(e.step_key) for e in done.all_events if e.event_type == kind]


def break_pictures(world: Any, names: str) -> None:
    for name in names:
        (world.folder / "pictures" / f"{name}.png").write_bytes(b"no picture" + name.encode())


def test_too_many_rejects_hold_back_what_follows_until_the_limit_is_raised(make_world):
    world = make_world("abcd")
    break_pictures(world, "bcd")
    world.deal()
    done = world.run("images", "aligned", LATENTS)
    assert failed(done) == {"images.reject_share": True}
    assert world.errors(done)[0].endswith(
        "images of shard-000001 fails reject_share: reject_share 0.75, limit 0.5, inputs 4"
    )
    assert steps(done, dg.DagsterEventType.STEP_START) == ["toy__images"]
    assert steps(done, dg.DagsterEventType.STEP_UP_FOR_RETRY) == []
    assert world.event("images").metadata["rejects"].value == 0
    assert world.store.tables() == ["entries", "images"]

    done = world.run("aligned")  # another run meets the same wall
    assert (
        "aligned is held back: images of shard-000001 fails reject_share" in world.errors(done)[0]
    )
    assert steps(done, dg.DagsterEventType.STEP_UP_FOR_RETRY) == []
    assert "aligned" not in world.store.tables()

    world.change(checks={"max_reject_share": 0.8, "min_psnr_db": 0.0})
    assert world.run("images", "aligned", LATENTS).success
    assert world.event("images").metadata["reused"].value is True


def test_latents_that_are_not_finite_are_not_edited(make_world):
    world = make_world("ab", is_scored=True)
    world.deal()
    assert world.run("images", "aligned", "attributes", LATENTS).success
    assert world.run("samples", BOUNDARIES, shard=None).success
    rows = world.store.table(LATENTS, SHARD)
    values = np.array(rows.column("latent").to_pylist(), np.float32)
    values[1, 2, 3] = np.nan
    values[0, 0, 0] = np.inf
    place = rows.schema.get_field_index("latent")
    bad = pa.array(values.tolist(), rows.schema.field("latent").type)
    rows = rows.set_column(place, rows.schema.field("latent"), bad)
    (world.folder / "store/toy" / LATENTS / f"{SHARD}.parquet").unlink()
    key = world.chain.key(world.chain.stage(LATENTS), SHARD, Keys(world.store))
    world.store.write(LATENTS, SHARD, rows.to_batches(), schema=rows.schema, key=key, footer={})
    done = world.run(LATENTS, EDITS)
    assert failed(done) == {"latents_image2stylegan.finite_latents": True}
    assert steps(done, dg.DagsterEventType.STEP_START) == ["toy__latents_image2stylegan"]
    assert "fails finite_latents: non_finite_values 2" in world.errors(done)[0]
    assert "edits/image2stylegan is held back" in world.errors(world.run(EDITS))[0]


def test_a_reconstruction_under_the_floor_is_not_edited(make_world):
    checks = {"min_psnr_db": 90.0}
    world = make_world("ab", is_scored=True, checks=checks)
    world.deal()
    assert world.run("samples", BOUNDARIES, shard=None).success
    done = world.run("images", "aligned", LATENTS, EDITS)
    assert failed(done) == {"latents_image2stylegan.reconstruction_floor": True}
    assert "floor_db 90.0, n 2" in world.errors(done)[0]
    assert EDITS not in world.store.tables()


def test_a_boundary_that_cannot_be_fitted_says_so_before_anything_is_edited(make_world):
    world = make_world("ab", is_scored=True)
    few = {"fit": "samples", "num_samples": 20, "ratio": 0.1, "solver": "linear"}
    world.change(**world.scored() | {"boundaries": {"warm": few, "bright": few}})
    world.deal()
    done = world.run("samples", BOUNDARIES, shard=None)
    assert failed(done) == {"boundaries_image2stylegan.all_found": True}
    assert "all_found: warm expected at least 5 rows on either side" in world.errors(done)[0]


CHECKS = {
    "images": ["rows_add_up", "reject_share"],
    "aligned": ["rows_add_up", "reject_share"],
    "attributes": ["rows_add_up", "reject_share"],
    LATENTS: ["rows_add_up", "reject_share", "finite_latents", "reconstruction_floor"],
    EDITS: ["rows_add_up"],
    "augmentation/image2stylegan": ["rows_add_up"],
    BOUNDARIES: ["all_found"],
}


def test_every_check_of_a_sound_shard_passes(whole):
    storage = whole.instance.event_log_storage
    for stage in whole.chain.stages:
        for name in CHECKS.get(stage.table, []):
            key = dg.AssetCheckKey(whole.key(stage.table), name)
            records = storage.get_asset_check_execution_history(key, limit=1)
            found = records[0].event.dagster_event.asset_check_evaluation_data
            assert (found.passed, found.blocking) == (True, True), key
        assert [c.name for c in check_specs(stage)] == CHECKS.get(stage.table, [])


@pytest.mark.parametrize("table", SHARDED)
def test_a_row_that_is_lost_or_doubled_is_noticed_in_every_sharded_stage(whole, table):
    stage = whole.chain.stage(table)
    shard = next(s for s in whole.store.shards(table) if whole.store.num_rows(table, s))
    rows, rejects = whole.store.table(table, shard), whole.store.rejects(table, shard)
    inputs = int(whole.store.footer(table, shard)["num_inputs"])
    assert verdict(stage, inputs, rows, rejects) == (True, inputs, 0)
    mine = "uri" if table == "images" else "crop_id"
    lost = rows.filter(pc.not_equal(rows.column(mine), rows.column(mine)[0]))
    assert verdict(stage, inputs, lost, rejects) == (False, inputs - 1, 0)
    twice = pa.concat_tables([rows, rows.slice(0, 1)])
    assert verdict(stage, inputs, twice, rejects) == (False, inputs, 1)


def verdict(stage: Any, inputs: int, rows: pa.Table, rejects: pa.Table) -> tuple[bool, Any, Any]:
    """(passed, accounted, counted twice) of `rows_add_up` on a table that is published so."""
    found = rows_add_up(stage, published(stage, inputs, rows, rejects))
    return found.passed, *(found.metadata[n].value for n in ("accounted", "counted_twice"))


def published(stage: Any, inputs: int, rows: pa.Table, rejects: pa.Table) -> Published:
    made = Chunk(inputs, *(one_batch(it) for it in (rows, rejects)))
    return Store(f"memory://{uuid.uuid4().hex}", "r").publish(
        stage.table,
        SHARD,
        schema=rows.schema,
        key="0" * 16,
        footer={},
        chunks=lambda start: [made] if not start else [],
        rejects_schema=schemas.REJECTS,
        totals=stage.page.totals,
    )


def one_batch(table: pa.Table) -> pa.RecordBatch:
    found = table.combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)


def crops(whole: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of `aligned` with these crop ids."""
    (row, *_) = whole.store.table("aligned", SHARD).to_pylist()
    return [row | {"crop_id": name, "image_id": name.split(":")[0]} for name in ids]


def test_several_faces_a_picture_add_up_to_the_pictures(whole):
    rejects = [
        reject("b:1", "face_too_small", ""),  # b has another face
        reject("c", "no_face", ""),
        reject("d", "no_face", ""),
    ]
    rows = crops(whole, ["a:0", "a:1", "a:2", "b:0"])
    made = chunk(4, rows, rejects, schemas.ALIGNED)
    stage, tables = whole.chain.stage("aligned"), (made.rows, made.rejects)
    rows_of, rejects_of = (pa.Table.from_batches([it]) for it in tables)
    assert verdict(stage, 4, rows_of, rejects_of) == (True, 4, 0)
    assert verdict(stage, 5, rows_of, rejects_of) == (False, 4, 0)
    found = reject_share(stage, published(stage, 4, rows_of, rejects_of))
    assert found.metadata["reject_share"].value == 0.5  # c and d; b gave a crop


def test_an_edit_that_failed_leaves_its_crop_accounted_for(whole):
    stage = whole.chain.stage(EDITS)
    rows = whole.store.table(EDITS, SHARD)
    gone = [reject(name, "failed", "") for name in rows.column("edit_id")[:2].to_pylist()]
    rejects = pa.Table.from_pylist(gone, schema=schemas.REJECTS)
    assert len(set(rows.column("crop_id")[:2].to_pylist())) == 1
    assert verdict(stage, 4, rows.slice(2), rejects) == (True, 4, 0)
    assert verdict(stage, 4, rows.slice(2), rejects.slice(2)) == (False, 3, 0)


class Recorder(Store):
    """A store that records the tables whose rows or rejects are read."""

    def __init__(self, store: Store) -> None:
        self.fs, self.base = store.fs, store.base
        self.reads: list[str] = []

    def read(self, table: str, *args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        self.reads.append(table)
        return super().read(table, *args, **options)

    def rejects(self, table: str, shard: str) -> pa.Table:
        self.reads.append(table)
        return super().rejects(table, shard)


def shards_of(whole: Any, stage: Any) -> list[str]:
    return list(whole.chain.shards(stage, Keys(whole.store)))


def test_checks_and_the_next_stage_read_footers_only(whole):
    store = Recorder(whole.store)
    for stage in whole.chain.stages:
        for shard in shards_of(whole, stage):
            assert all(found.passed for found in check_results(stage, store, shard))
            require_trusted(whole.chain, stage, store, shard, Keys(store))
    assert store.reads == []


def test_a_table_of_an_earlier_version_is_read_once_for_the_same_figures(whole, monkeypatch):
    """Its footer has no totals."""
    for stage in whole.chain.stages:
        for shard in shards_of(whole, stage):
            expected = [found.metadata for found in check_results(stage, whole.store, shard)]
            store = Recorder(whole.store)
            with monkeypatch.context() as patch:
                patch.setattr(reading, "read_footer", without_totals)
                found = check_results(stage, store, shard)
            assert [one.metadata for one in found] == expected
            assert store.reads == ([stage.table] * 2 if stage.page.checks else [])  # and rejects


def without_totals(metadata: Any) -> dict[str, str]:
    return {name: text for name, text in read_footer(metadata).items() if name != "totals"}


@pytest.mark.parametrize("table", [EDITS, "augmentation/image2stylegan", "exports/image2stylegan"])
def test_boundaries_are_read_once_a_stage(whole, table):
    stage, store = whole.chain.stage(table), Recorder(whole.store)
    run = StageRun(whole.recipe, stage, whole.resources["models"], Silent(), key="0" * 16)
    stage.page.plan(run, store, shards_of(whole, stage)[0])
    assert store.reads.count(BOUNDARIES) == 1


def test_images_are_not_read_to_be_counted(whole):
    stage, store = whole.chain.stage("aligned"), Recorder(whole.store)
    run = StageRun(whole.recipe, stage, whole.resources["models"], Silent())
    num_inputs = {s: stage.page.plan(run, store, s).num_inputs for s in shards_of(whole, stage)}
    assert store.reads == []
    for shard, number in num_inputs.items():
        statuses = whole.store.table("images", shard).column("status").to_pylist()
        assert number == statuses.count("ok")
