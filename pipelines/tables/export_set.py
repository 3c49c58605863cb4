"""The exported set: the chosen rows, their files in every format, and the datasheet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from invertory.pipelines.tables.stage import ALL
from invertory.resources.filesystems import is_local

if TYPE_CHECKING:
    from invertory.boundaries import Boundary
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import StageRun
    from invertory.resources.tables import Store

GROUPS = {  # the recipe's word => (target, protected)
    "both": (True, True),
    "target": (True, False),
    "protected": (False, True),
    "neither": (False, False),
}


def set_folder(store: Store, method: str) -> str:
    """The folder of a method's set, with a folder for each format."""
    folder = f"{store.base}/sets/{method}"
    return folder if is_local(store.fs) else store.sets(method).current() or folder


def boundaries_of(run: StageRun, store: Store) -> dict[str, Boundary]:
    """The method's boundaries by attribute."""
    return read_boundaries(store.read(f"boundaries/{run.stage.method}", ALL))


def plan_of(run: StageRun, store: Store, boundaries: Mapping[str, Boundary]) -> Plan:
    """The crops and partners to export, chosen by their labels."""
    how, method = run.recipe.augmentation, run.stage.method
    assert how is not None
    rules = (rule(run.recipe, boundaries, name) for name in (how.target, how.protected))
    target, protected = rules
    columns = ["sample_id", "crop_id", "target_label", "protected_label"]

    def candidates() -> Iterator[Any]:
        yield from originals(store.read_all("attributes"), target, protected)
        yield from partners(store.read_all(f"augmentation/{method}", columns))

    counts = run.recipe.export.counts
    wanted: Any = counts if isinstance(counts, str) else {GROUPS[k]: n for k, n in counts.items()}
    return plan_export(candidates(), wanted)


def write_sets(
    run: StageRun,
    store: Store,
    plan: Plan,
    boundaries: Mapping[str, Boundary],
    batches: Callable[[], Iterable[pa.RecordBatch]],
) -> None:
    """Write the set in every format of the recipe; it becomes current once it is verified."""
    formats = run.recipe.export.formats

    def write(create: Callable[[str], Any]) -> None:
        sheets = datasheet(run, store, plan, boundaries).sheets()
        for name in formats:
            inside = partial(_create_in, create, name)
            if plan.chosen:
                write_set(name, batches(), inside, sheets)
                continue
            for file, text in sheets.items():  # nothing to export: the datasheet says why
                with inside(file) as sink:
                    sink.write(text.encode())

    store.sets(run.stage.method or "").publish(run.key, formats, write)


def _create_in(create: Callable[[str], Any], folder: str, name: str) -> Any:
    return create(f"{folder}/{name}")


def index_of(num_inputs: int, batches: Iterable[pa.RecordBatch]) -> Chunk:
    """A shard's exported rows without their images."""
    rows = [batch.select(EXPORT_INDEX.names) for batch in batches]
    table = pa.Table.from_batches(rows, schema=EXPORT_INDEX).combine_chunks()
    batch = next(iter(table.to_batches()), pa.RecordBatch.from_pylist([], schema=EXPORT_INDEX))
    return Chunk(num_inputs, batch, pa.RecordBatch.from_pylist([], schema=REJECTS))


def datasheet(
    run: StageRun, store: Store, plan: Plan, boundaries: Mapping[str, Boundary]
) -> Datasheet:
    """Origin, models and licences, method, counts by group, known limits, keys."""
    recipe, method = run.recipe, run.stage.method or ""
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
        target_rule=_rule_text(recipe, boundaries, how.target),
        protected_rule=_rule_text(recipe, boundaries, how.protected),
        method=method,
        selection=f"counts {json.dumps(recipe.config_for('export')['counts'])}, in pairs",
        collection=", ".join(recipe.collection.uris),
        collection_licence=recipe.collection.licence,
        cards=cards_of(recipe, run.models),
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


def rule(recipe: Recipe, boundaries: Mapping[str, Boundary], attribute: str) -> tuple[str, float]:
    """(score, threshold): a crop is positive where its score reaches the threshold."""
    how = recipe.augmentation
    if how and attribute in how.threshold:
        return attribute, how.threshold[attribute]
    threshold = boundaries[attribute].threshold if attribute in boundaries else None
    if threshold is None:
        raise ValueError(
            f"expected a threshold for {attribute!r}, got none from its boundary; write "
            f"`threshold: {{{attribute}: ...}}` into the recipe's augmentation"
        )
    return attribute, threshold


def _rule_text(recipe: Recipe, boundaries: Mapping[str, Boundary], attribute: str) -> str:
    name, threshold = rule(recipe, boundaries, attribute)
    return f"score_{name} >= {threshold:g}, by {recipe.attributes[attribute].scorer}"


def _keys(store: Store, method: str) -> dict[str, str]:
    tables = [f"augmentation/{method}", f"latents/{method}", "aligned", "attributes"]
    found = {f"{t}/{s}": store.key(t, s) or "" for t in tables for s in store.shards(t)[:20]}
    return found | {f"boundaries/{method}": store.key(f"boundaries/{method}", ALL) or ""}
