"""A materialisation tells all there is to know, is made once, and shows when it is stale."""

import base64
import hashlib
import io
import json
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from invertory.pipelines.assets import assets_of
from invertory.pipelines.tables.chain import Keys
from invertory.pipelines.tables.stage import ALL
from invertory.resources.models import ModelStore

SHARD = "shard-000001"
LATENTS, BOUNDARIES = "latents/image2stylegan", "boundaries/image2stylegan"
TABLES = [
    "images", "aligned", "attributes", "latents/image2stylegan", "models", "samples",
    "boundaries/image2stylegan", "edits/image2stylegan", "augmentation/image2stylegan",
    "exports/image2stylegan",
]  # fmt: skip
PICTURED = {"aligned", "latents", "edits", "augmentation"}
ROOTS = {"images", "models", "samples"}
WITHOUT_PICTURES = {"boundaries", "models"}


def metadata(world: Any, table: str, shard: str | None = None) -> dict[str, Any]:
    return {name: value.value for name, value in world.event(table, shard).metadata.items()}


def status(world: Any, table: str, shard: str | None = None) -> str:
    """MISSING, STALE with the reason, or FRESH: recorded versions against those of today.

    Dagster compares the same tags; test_ui.py asks a running server for its verdict.
    """
    event = latest(world.instance, world.key(table), shard)
    if event is None:
        return "MISSING"
    spec = specs(world)[world.key(table)]
    if event.tags["dagster/code_version"] != spec.code_version:
        return "STALE has a new code version"
    inputs = {dep.asset_key: version(world, dep.asset_key, shard) for dep in comparable(spec)}
    recorded = {key: event.tags[f"dagster/input_data_version/{key.to_user_string()}"]
                for key in inputs}  # fmt: skip
    return "FRESH" if recorded == inputs else "STALE has a new dependency data version"


def comparable(spec: dg.AssetSpec) -> list[dg.AssetDep]:
    """Inputs with one data version; the asset `gathered/...` stands for all shards of a table."""
    return [dep for dep in spec.deps if dep.partition_mapping is None]


def version(world: Any, key: dg.AssetKey, shard: str | None) -> str | None:
    """The data version of an input; where it has shards, Dagster records that of one hashed."""
    is_sharded = specs(world)[key].partitions_def is not None
    event = latest(world.instance, key, shard if is_sharded else None)
    if event is None:
        return None
    found = event.tags["dagster/data_version"]
    return hashlib.sha256(found.encode()).hexdigest() if is_sharded else found


def latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, shard: str | None
) -> dg.AssetMaterialization | None:
    limits = dg.AssetRecordsFilter(key, [shard] if shard else None)
    records = instance.fetch_materializations(limits, limit=1).records
    return records[0].asset_materialization if records else None


def specs(world: Any) -> dict[dg.AssetKey, dg.AssetSpec]:
    assets = assets_of(world.recipe, world.chain, {})
    listed = (a.specs if isinstance(a, dg.AssetsDefinition) else [a] for a in assets)
    return {spec.key: spec for some in listed for spec in some}


def test_the_tables_are_those_of_the_recipe(whole):
    assert [stage.table for stage in whole.chain.stages] == TABLES


@pytest.mark.parametrize("table", TABLES)
def test_a_materialisation_tells_counts_speed_and_memory(whole, table):
    told = metadata(whole, table)
    sharded = whole.chain.stage(table).is_sharded
    assert told["dagster/partition_row_count" if sharded else "dagster/row_count"] > 0
    assert told["inputs"] > 0
    assert told["rejects"] == sum(told["rejects_by_reason"].values())
    assert told["elapsed_s"] >= 0
    assert told["rows_per_s" if table.split("/")[0] in WITHOUT_PICTURES else "images_per_s"] > 0
    assert 50 < told["peak_memory_mb"] < 20_000
    assert told["reused"] is False
    assert told["dagster/uri"].startswith(str(whole.folder))


@pytest.mark.parametrize("table", TABLES)
def test_a_materialisation_has_the_schema_and_where_each_column_comes_from(whole, table):
    told, stage = metadata(whole, table), whole.chain.stage(table)
    shard = SHARD if stage.is_sharded else ALL
    schema = whole.store.schema(table, shard)
    found = told["dagster/column_schema"].columns
    assert [(c.name, c.constraints.nullable) for c in found] == [
        (field.name, field.nullable) for field in schema
    ]
    if table in ROOTS:
        assert "dagster/column_lineage" not in told
        return
    upstream = {whole.key(i.table): columns(whole, i.table) for i in stage.inputs}
    lineage = told["dagster/column_lineage"].deps_by_column
    assert set(lineage) == set(schema.names)
    for sources in lineage.values():
        assert sources
        for source in sources:
            assert source.column_name in upstream[source.asset_key]


def test_types_are_short(whole):
    found = metadata(whole, "edits/image2stylegan")["dagster/column_schema"].columns
    types = {column.name: column.type for column in found}
    assert types["latent"] == "float[4][12]"
    assert types["picture"] == "picture"
    assert types["crop_id"] == "string"


def columns(world: Any, table: str) -> set[str]:
    shard = SHARD if world.chain.stage(table).is_sharded else ALL
    return set(world.store.schema(table, shard).names)


@pytest.mark.parametrize("table", [t for t in TABLES if t.split("/")[0] in PICTURED])
def test_the_contact_sheet_is_a_small_jpeg(whole, table):
    text = metadata(whole, table)["contact_sheet"]
    assert text.startswith(f"![{table}](data:image/jpeg;base64,")
    data = base64.b64decode(text.partition("base64,")[2].rstrip(")"))
    assert min(Image.open(io.BytesIO(data)).size) >= 64
    assert len(data) < 100_000


@pytest.mark.parametrize("table", TABLES)
def test_the_data_version_is_the_key_in_the_footer(whole, table):
    shard = whole.event(table).partition or ALL
    assert whole.event(table).tags["dagster/data_version"] == whole.store.key(table, shard)


def test_what_is_there_is_reused(make_world):
    world = make_world("ab")
    world.deal()
    assert world.run("images", "aligned").success
    files = {path: path.stat().st_mtime_ns for path in world.folder.glob("store/**/*.parquet")}
    assert world.run("images", "aligned").success
    told = metadata(world, "aligned")
    assert told["reused"] is True
    assert told["inputs"] == 2
    assert told["peak_memory_mb"] > 50
    assert {p: p.stat().st_mtime_ns for p in world.folder.glob("store/**/*.parquet")} == files


def test_a_changed_parameter_shows_as_stale_until_it_is_made_anew(make_world):
    world = make_world("ab")
    world.deal()
    tables = ("images", "aligned", "latents/image2stylegan")
    assert status(world, tables[2], SHARD) == "MISSING"
    assert world.run(*tables).success
    assert [status(world, table, SHARD) for table in tables] == ["FRESH"] * 3
    before = world.event(tables[2]).tags
    world.change(methods={"image2stylegan": {"steps": 3}})
    assert [status(world, table, SHARD) for table in tables] == [
        "FRESH", "FRESH", "STALE has a new code version",
    ]  # fmt: skip
    assert world.run(*tables).success
    after = world.event(tables[2]).tags
    assert after["dagster/code_version"] != before["dagster/code_version"]
    assert after["dagster/data_version"] != before["dagster/data_version"]
    assert [status(world, table, SHARD) for table in tables] == ["FRESH"] * 3
    assert [metadata(world, table)["reused"] for table in tables] == [True, True, False]


def test_what_follows_a_change_shows_as_stale_and_the_rest_does_not(make_world):
    world = make_world("ab", is_scored=True)
    world.deal()
    world.run_all()
    assert {status(world, s.table, SHARD if s.is_sharded else None)
            for s in world.chain.stages} == {"FRESH"}  # fmt: skip
    parts = world.scored()
    warm = {**parts["boundaries"]["warm"], "ratio": 0.4}
    world.change(**parts | {"boundaries": {**parts["boundaries"], "warm": warm}})
    assert world.run("boundaries/image2stylegan", shard=None).success
    reason = "STALE has a new dependency data version"
    assert status(world, "boundaries/image2stylegan") == "FRESH"
    assert status(world, "edits/image2stylegan", SHARD) == reason
    assert status(world, "exports/image2stylegan") == reason
    assert status(world, "latents/image2stylegan", SHARD) == "FRESH"
    world.run_all()
    assert {status(world, s.table, SHARD if s.is_sharded else None)
            for s in world.chain.stages} == {"FRESH"}  # fmt: skip


def test_a_rerun_that_gives_the_same_leaves_what_follows_fresh(make_world):
    world = make_world("abcdef", is_scored=True)
    for shard in world.deal():
        assert world.run("images", "aligned", "attributes", shard=shard).success
    world.run_all()
    for shard in world.store.shards("entries"):
        assert world.run("images", "aligned", shard=shard).success
    for stage in world.chain.stages:
        assert status(world, stage.table, SHARD if stage.is_sharded else None) == "FRESH"


def test_what_spans_all_shards_shows_as_stale_past_a_hundred_of_them(make_world):
    fit = {"fit": "collection", "ratio": 0.3, "solver": "linear"}
    world = make_world("abcd", is_scored=True)
    parts = world.scored() | {"boundaries": {"warm": fit, "bright": fit}}
    world.change(**parts)
    world.deal()
    assert world.run("images", "aligned", "attributes", LATENTS).success
    copy_to_shards(world, 120)
    assert world.run("attributes", LATENTS, shard="shard-000120").success
    assert world.run(BOUNDARIES, shard=None).success
    assert status(world, BOUNDARIES) == "FRESH"
    version = world.event(BOUNDARIES).tags["dagster/data_version"]

    other = {name: {**how, "std": [0.5] * 3} for name, how in parts["attributes"].items()}
    world.change(**parts | {"attributes": other})
    assert world.run("attributes", shard="shard-000007").success
    assert status(world, BOUNDARIES) == "STALE has a new dependency data version"
    assert world.run(BOUNDARIES, shard=None).success
    assert status(world, BOUNDARIES) == "FRESH"
    assert world.event(BOUNDARIES).tags["dagster/data_version"] != version


def copy_to_shards(world: Any, number: int) -> None:
    """The first shard again as shards 2 to `number`."""
    shards = [f"shard-{i:06d}" for i in range(2, number + 1)]
    world.instance.add_dynamic_partitions("toy_shards", shards)
    for table in ("entries", "aligned", "attributes", LATENTS):
        rows = world.store.table(table, SHARD)
        for shard in shards:
            key = "0" * 16
            if table != "entries":
                key = world.chain.key(world.chain.stage(table), shard, Keys(world.store))
            batches = rows.to_batches()
            world.store.write(table, shard, batches, schema=rows.schema, key=key, footer={})


def test_a_run_resolves_networks_by_the_model_store_that_it_is_given(make_world):
    """`assets_of` has seen the cards of another store, where the classifier is missing."""
    scorer = {"scorer": "classifier", "weights": "trained://judge"}
    world = make_world("a", attributes={"smile": scorer})
    own = ModelStore(cache=str(world.folder / "own"))
    own.trained().mkdir(parents=True)
    card = {"kind": "classifier", "sha256": "a" * 64, "architecture": {}}
    (own.trained() / "judge.json").write_text(json.dumps(card))
    done = world.run("models", shard=None, models=own)
    assert done.success, world.errors(done)
    assert "a" * 64 in json.loads(world.store.footer("models", ALL)["models"]).values()
