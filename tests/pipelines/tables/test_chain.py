"""Keys decide what is computed: what changed, and everything downstream of it, and nothing else."""

import uuid

import pyarrow as pa
import pytest

from invertory.pipelines.tables.chain import Chain, Keys
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.stage import ALL, Input, Stage
from invertory.resources.tables import Store


class Sharded(Table):
    name = "of shards"
    code_version = "1"


class Whole(Sharded):
    is_sharded = False


SHARDED, WHOLE = Sharded(), Whole()
ROWS = pa.schema([pa.field("n", pa.int64(), nullable=False)])


def stage(table: str, *inputs: Input, is_sharded: bool = True, **config: object) -> Stage:
    page = SHARDED if is_sharded else WHOLE
    return Stage(page=page, recipe="r", table=table, inputs=inputs, config=config)


def chain(**latents: object) -> Chain:
    return Chain(
        "r",
        (
            stage("images", Input(table="entries")),
            stage("aligned", Input(table="images")),
            stage("latents/a", Input(table="aligned"), **latents),
            stage("boundaries/a", Input(table="latents/a", shards="all"), is_sharded=False),
            stage("edits/a", Input(table="latents/a"), Input(table="boundaries/a")),
        ),
    )


@pytest.fixture
def store() -> Store:
    store = Store(f"memory://{uuid.uuid4().hex}", "r")
    for i in (1, 2):
        write(store, "entries", f"shard-00000{i}", f"e{i}")
    return store


def write(store: Store, table: str, shard: str, key: str) -> None:
    batch = pa.record_batch([pa.array([1])], schema=ROWS)
    store.write(table, shard, [batch], schema=ROWS, key=key, footer={})


def compute_all(made: Chain, store: Store) -> list[str]:
    done = []
    while step := next(made.pending(store), None):
        key = made.key(step.stage, step.shard, Keys(store))
        write(store, step.stage.table, step.shard, key)
        done.append(f"{step.stage.table} {step.shard}")
    return done


def pending(made: Chain, store: Store) -> list[str]:
    return [f"{s.stage.table} {s.shard[-1]}" for s in made.pending(store)]


def test_everything_is_pending_in_the_order_of_the_data(store):
    assert pending(chain(), store) == [
        "images 1", "images 2", "aligned 1", "aligned 2", "latents/a 1", "latents/a 2",
        "boundaries/a l", "edits/a 1", "edits/a 2",
    ]  # fmt: skip


def test_nothing_is_pending_once_it_is_computed(store):
    assert len(compute_all(chain(), store)) == 9
    assert pending(chain(), store) == []


def test_a_changed_parameter_makes_its_stage_and_what_follows_stale(store):
    compute_all(chain(steps=10), store)
    assert pending(chain(steps=20), store) == [
        "latents/a 1", "latents/a 2", "boundaries/a l", "edits/a 1", "edits/a 2",
    ]  # fmt: skip


def test_a_new_shard_leaves_the_old_shards_alone_up_to_what_spans_all(store):
    compute_all(chain(), store)
    write(store, "entries", "shard-000003", "e3")
    assert pending(chain(), store) == [
        "images 3", "aligned 3", "latents/a 3", "boundaries/a l",
        "edits/a 1", "edits/a 2", "edits/a 3",
    ]  # fmt: skip


def test_what_spans_all_shards_sees_a_change_in_any_of_more_than_a_hundred(store):
    for i in range(3, 121):
        write(store, "entries", f"shard-{i:06d}", f"e{i}")
    made = chain()
    boundaries = made.stage("boundaries/a")
    for i in range(1, 121):
        write(store, "latents/a", f"shard-{i:06d}", f"l{i}")
    before = made.key(boundaries, ALL, Keys(store))
    write(store, "latents/a", "shard-000007", "changed")
    assert made.key(boundaries, ALL, Keys(store)) != before


def test_a_phase_waits_for_what_spans_all_shards():
    phases = [[s.table for s in phase] for phase in chain().phases()]
    assert phases == [["images", "aligned", "latents/a"], ["boundaries/a", "edits/a"]]


def test_an_unknown_table_names_those_there_are():
    with pytest.raises(KeyError, match="has no table 'latent'; it has images"):
        chain().stage("latent")
