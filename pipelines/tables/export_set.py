"""The exported set: what is chosen, its files in every format asked for, and its datasheet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from invertory.ops.datasheet import Datasheet
from invertory.ops.export import Plan, originals, partners, plan_export
from invertory.ops.fit import read_boundaries
from invertory.ops.schemas import EXPORT_INDEX, REJECTS
from invertory.ops.streams import Chunk
from invertory.ops.writers import write_set
from invertory.pipelines.networks.resolve import cards_of
from invertory.pipelines.tables.chain import ALL
from invertory.resources.atomic import is_local

if TYPE_CHECKING:
    from invertory.pipelines.tables.line import Line
    from invertory.resources.tables import Store

GROUPS = {  # the recipe's word => (target, protected)
    "both": (True, True),
    "target": (True, False),
    "protected": (False, True),
    "neither": (False, False),
}


def set_folder(store: Store, method: str) -> str:
    """Where the sets of a method lie, one folder a format: on an object store, the current ones."""
    folder = f"{store.base}/sets/{method}"
    return folder if is_local(store.fs) else store.sets(method).current() or folder


def plan_of(line: Line, store: Store) -> Plan:
    """Which crops and partners are exported, from labels alone."""
    how, method = line.recipe.augmentation, line.stage.method
    assert how is not None
    target, protected = (rule(line, store, name) for name in (how.target, how.protected))
    columns = ["sample_id", "crop_id", "target_label", "protected_label"]

    def candidates() -> Iterator[Any]:
        yield from originals(store.read_all("attributes"), target, protected)
        yield from partners(store.read_all(f"augmentation/{method}", columns))

    counts = line.recipe.export.counts
    wanted: Any = counts if isinstance(counts, str) else {GROUPS[k]: n for k, n in counts.items()}
    return plan_export(candidates(), wanted)


def write_sets(
    line: Line, store: Store, plan: Plan, batches: Callable[[], Iterable[pa.RecordBatch]]
) -> None:
    """The set in every format of the recipe, made current once it is whole and verified."""
    formats = line.recipe.export.formats

    def write(create: Callable[[str], Any]) -> None:
        sheets = datasheet(line, store, plan).sheets()
        for name in formats:
            inside = partial(_create_in, create, name)
            if plan.chosen:
                write_set(name, batches(), inside, sheets)
                continue
            for file, text in sheets.items():  # nothing to export: the sheet says why
                with inside(file) as sink:
                    sink.write(text.encode())

    store.sets(line.stage.method or "").publish(line.key, formats, write)


def _create_in(create: Callable[[str], Any], folder: str, name: str) -> Any:
    return create(f"{folder}/{name}")


def index_of(num_inputs: int, batches: Iterable[pa.RecordBatch]) -> Chunk:
    """A shard's exported rows without their pictures."""
    rows = [batch.select(EXPORT_INDEX.names) for batch in batches]
    table = pa.Table.from_batches(rows, schema=EXPORT_INDEX).combine_chunks()
    batch = next(iter(table.to_batches()), pa.RecordBatch.from_pylist([], schema=EXPORT_INDEX))
    return Chunk(num_inputs, batch, pa.RecordBatch.from_pylist([], schema=REJECTS))


def datasheet(line: Line, store: Store, plan: Plan) -> Datasheet:
    """Origin, models and licences, method, counts by group, known limits, keys."""
    recipe, method = line.recipe, line.stage.method or ""
    how = recipe.augmentation
    assert how is not None
    rejects: dict[str, int] = {}
    for shard in store.shards(f"augmentation/{method}"):
        for status, number in store.summary(f"augmentation/{method}", shard).rejects.items():
            rejects[status] = rejects.get(status, 0) + number
    return Datasheet(
        title=f"{recipe.name}: {how.target} without {how.protected}",
        plan=plan,
        target=how.target,
        protected=how.protected,
        target_rule=_rule_text(line, store, how.target),
        protected_rule=_rule_text(line, store, how.protected),
        method=method,
        selection=f"counts {json.dumps(recipe.config_for('export')['counts'])}, in pairs",
        collection=", ".join(recipe.collection.uris),
        collection_licence=recipe.collection.licence,
        cards=cards_of(recipe),
        keys=_keys(store, method),
        rejects=rejects,
        limits=_limits(how.min_distance),
    )


def _limits(min_distance: float) -> tuple[str, ...]:
    if not min_distance:
        return ()
    return (
        f"A partner lies at least {min_distance:g} (in W) beyond the boundary of the protected "
        "attribute, farther than the mirror image where its crop lies near the boundary.",
    )


def rule(line: Line, store: Store, attribute: str) -> tuple[str, float]:
    """(score, threshold): positive where the score reaches it."""
    how = line.recipe.augmentation
    if how and attribute in how.threshold:
        return attribute, how.threshold[attribute]
    boundaries = read_boundaries(store.read(f"boundaries/{line.stage.method}", ALL))
    threshold = boundaries[attribute].threshold if attribute in boundaries else None
    if threshold is None:
        raise ValueError(
            f"expected a threshold for {attribute!r}, got none from its boundary; write "
            f"`threshold: {{{attribute}: ...}}` into the recipe's augmentation"
        )
    return attribute, threshold


def _rule_text(line: Line, store: Store, attribute: str) -> str:
    name, threshold = rule(line, store, attribute)
    return f"score_{name} >= {threshold:g}, by {line.recipe.attributes[attribute].scorer}"


def _keys(store: Store, method: str) -> dict[str, str]:
    tables = [f"augmentation/{method}", f"latents/{method}", "aligned", "attributes"]
    found = {f"{t}/{s}": store.key(t, s) or "" for t in tables for s in store.shards(t)[:20]}
    return found | {f"boundaries/{method}": store.key(f"boundaries/{method}", ALL) or ""}
