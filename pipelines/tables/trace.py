"""The chain of one image, backwards and forwards, from the tables and their footers."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from invertory.pipelines.errors.exit_codes import NOT_FOUND
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.stage import ALL
from invertory.resources.entries import decode, encode

if TYPE_CHECKING:
    from invertory.resources.tables import Store

LIGHT_LIST = 16  # longer lists are tensors: named by type, not printed


class NotFoundError(LookupError):
    """No row of the store has the id."""

    exit_code = NOT_FOUND


def trace(
    chain: Chain, store: Store, wanted: str, plain: Callable[[str], str] = decode
) -> dict[str, Any]:
    """Every row of the image that `wanted` names, by table, with what produced it.

    `wanted` is an image_id (or its first 6 or more digits), a crop, edit or sample id, or the
    URI, path or file name of a source; `plain` gives the path behind a URI. Raises
    `NotFoundError`, which lists where it looked.
    """
    shard, images = _find(store, wanted, plain)
    ids = {row["image_id"] for row in images if row["image_id"]}
    tables = {"images": _about(store, "images", shard) | {"rows": images}}
    for stage in chain.stages:
        if stage.table in {"images", "models", "samples"}:
            continue
        place = shard if stage.is_sharded else ALL
        if store.footer(stage.table, place) is None:
            continue
        rows = list(_rows(store, stage.table, place, ids))
        rejects = [r for r in store.rejects(stage.table, place).to_pylist() if _of(r, ids)]
        tables[stage.table] = _about(store, stage.table, place) | {"rows": rows}
        if rejects:
            tables[stage.table]["rejects"] = rejects
    return {"recipe": chain.recipe, "wanted": wanted, "shard": shard, "tables": tables}


def _find(
    store: Store, wanted: str, plain: Callable[[str], str]
) -> tuple[str, list[dict[str, Any]]]:
    image_id = wanted.split(":")[0].lower()
    names = names_meant(wanted)
    for shard in store.shards("images"):
        table = store.table("images", shard)
        known = pc.equal(pc.field("uri"), wanted)
        for end in {name.rpartition("/")[2].rpartition("::")[2] for name in names}:
            known = known | pc.ends_with(pc.utf8_normalize(pc.field("uri"), "NFC"), encode(end))
        if len(image_id) >= 6:
            known = known | pc.starts_with(pc.field("image_id"), image_id)
        rows = table.filter(known).to_pylist()
        if found := [row for row in rows if _is_meant(row, wanted, image_id, names, plain)]:
            return shard, found
    places = ", ".join(store.shards("images")) or "no shard"
    raise NotFoundError(
        f"expected an image_id (6 digits or more of it), a crop, edit or sample id, a URI or a "
        f"file name, got {wanted!r}, which is in none of the shards of images ({places}); "
        "`invertory gallery` and the table images show what there is"
    )


def names_meant(wanted: str) -> set[str]:
    """The paths and URLs that a name may stand for: as typed, decoded, encoded, composed."""
    typed = {wanted, wanted.removeprefix("./"), wanted.removeprefix("file://")}
    spelt = {form for text in typed for form in (text, decode(text), unquote(text), quote(text))}
    return {unicodedata.normalize("NFC", form) for form in spelt if form}


def _is_meant(
    row: dict[str, Any], wanted: str, image_id: str, names: set[str], plain: Callable[[str], str]
) -> bool:
    if row["uri"] == wanted:
        return True
    if len(image_id) >= 6 and (row["image_id"] or "").startswith(image_id):
        return True
    name = unicodedata.normalize("NFC", plain(row["uri"]))
    if any(name == one or name.endswith((f"/{one}", f"::{one}")) for one in names):
        return True
    local = "" if "://" in name else os.path.abspath(name)  # noqa: PTH100 (links stay links)
    return bool(local) and local in {os.path.abspath(one) for one in names}  # noqa: PTH100


def _rows(store: Store, table: str, shard: str, ids: set[str]) -> Iterator[dict[str, Any]]:
    schema = store.schema(table, shard)
    columns = [field.name for field in schema if _is_light(field.type)]
    heavy = {f.name: str(f.type) for f in schema if f.name not in columns}
    for batch in store.read(table, shard, columns=columns):
        if "image_id" not in columns:  # boundaries belong to every image of the recipe
            yield from ({**row, **heavy} for row in batch.to_pylist())
            continue
        mask = pc.is_in(batch.column("image_id"), value_set=pa.array(sorted(ids), pa.string()))
        yield from ({**row, **heavy} for row in batch.filter(mask).to_pylist())


def _is_light(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size <= LIGHT_LIST and not pa.types.is_nested(kind.value_type)
    return not (pa.types.is_struct(kind) or pa.types.is_binary(kind))


def _of(row: dict[str, Any], ids: set[str]) -> bool:
    return str(row["row_id"]).split(":")[0] in ids


def _about(store: Store, table: str, shard: str) -> dict[str, Any]:
    """What produced a shard: versions, configuration, networks, inputs, run."""
    footer = store.footer(table, shard) or {}
    parsed = {"config", "models", "inputs"}
    wanted = ("key", "code_version", "config", "models", "inputs", "run_id", "created_utc")
    return {
        "shard": shard,
        "uri": store.uri(table, shard),
        **{k: json.loads(footer[k]) if k in parsed else footer[k] for k in wanted if k in footer},
    }
