"""Every table with its columns, from ops/schemas.py and the pages in pipelines/tables."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from docs.generate.markdown import NOTICE, table
from invertory.ops import schemas
from invertory.pipelines.recipe.recipe import RECIPES, Recipe, load_recipe
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.registry import TABLES
from invertory.pipelines.tables.stage import Stage
from invertory.resources.models import ModelStore

ROWS, W_DIM = 997, 991  # stand for the sizes of a generator
NAMES: Final = ("<attribute>",)
SCHEMAS: Final[Mapping[str, tuple[str, pa.Schema]]] = {  # table => (name in ops/schemas, schema)
    "images": ("IMAGES", schemas.IMAGES),
    "aligned": ("ALIGNED", schemas.ALIGNED),
    "attributes": ("attributes", schemas.attributes(NAMES)),
    "latents": (
        "latents",
        schemas.latents(ROWS, W_DIM, ("<term>",), "<distance>", has_state=True, maps=("<name>",)),
    ),
    "models": ("CARDS", schemas.CARDS),
    "samples": ("samples", schemas.samples(W_DIM, NAMES)),
    "boundaries": ("boundaries", schemas.boundaries(ROWS, W_DIM)),
    "edits": ("edits", schemas.edits(ROWS, W_DIM, NAMES)),
    "augmentation": ("augmentation", schemas.augmentation(ROWS, W_DIM, NAMES)),
    "exports": ("EXPORTED", schemas.EXPORT_INDEX),
}
INTERNAL: Final = {
    "entries": ("ENTRIES", schemas.ENTRIES),
    "_rejects": ("REJECTS", schemas.REJECTS),
}
ABOUT: Final = {
    "entries": "The files of the collection, dealt to shards once and never dealt again.",
    "_rejects": "`_rejects/<table>/<shard>.parquet`: the inputs that gave no row, with a reason.",
}
SHARED: Final = {  # a column of this name means the same in every table
    "score_<attribute>": "as the scorer gave it; one column for each attribute",
    "loss_<term>": "unweighted, at the kept iterate; one column for each term of the loss",
    "map_<name>": "a small grey image of the inversion, such as a mask: black is 0, white is 1",
    "perceptual_<distance>": "of the final synthesis and the crop, by the distance of that name",
    "attempts": "how often it was tried",
    "attribute": "the attribute that was moved or that the boundary separates",
    "accuracy_remaining": "of the boundary on the rows that were not chosen; null where all were",
    "accuracy_validation": "of the boundary on held-out rows",
    "best_step": "the step whose latent was kept",
    "conditions": "attributes whose normals were projected out",
    "confidence": "of the face detector",
    "crop": "the aligned crop",
    "crop_id": "the crop",
    "distance_protected": "of the partner from the boundary of the protected attribute",
    "distance_target": "of the partner from the boundary of the target",
    "error": "the reason, in one line",
    "face_index": "the number of the face in its photograph, from 0",
    "format": "of the file: JPEG, PNG, ...",
    "height_px": "upright: after the EXIF orientation",
    "image_id": "the source image, sha256 of its bytes",
    "latent": "the latent",
    "layers": "the rows of W+ that were moved",
    "licence": "what may be done with it",
    "loss": "the weighted total at the kept iterate",
    "mode": "of the pixels: RGB, L, ...",
    "modified": "when the file was last written, as its filesystem says",
    "name": "the name of the network",
    "num_faces": "faces that were found in the photograph",
    "num_frames": "more than 1 in an animation",
    "num_negative": "rows below the threshold that it was fitted on",
    "num_positive": "rows above the threshold that it was fitted on",
    "orientation": "of the EXIF data, 1 to 8",
    "pair_id": "the same for an original and its partner",
    "picture": "the image that the latent gives",
    "provenance": "how it came about",
    "psnr_db": "of the final synthesis against the crop",
    "roll_deg": "how far the crop is rotated",
    "sample_id": "the sample",
    "seed": "of the row's random numbers, made of its id",
    "sha256": "of the file",
    "size_bytes": "of the file",
    "size_px": "side of the crop",
    "solver": "svc, linear or logistic",
    "source": "where it comes from",
    "ssim": "of the final synthesis against the crop",
    "status": "why there is no row, a word of the list below",
    "step": "signed length of the move",
    "steps": "steps taken",
    "synth": "the image that the latent gives",
    "target_label": "the label that a classifier is to learn",
    "protected_label": "the label that it must not depend on",
    "uri": "address of the file, without credentials",
    "w": "the latent",
}
OPENING = """\
# Tables and columns

`<store>/<recipe>/<table>[/<method>]/<shard>.parquet`, on any fsspec root (`INVERTORY_STORE`, by
default `./store`). pandas, polars, DuckDB and `datasets` read them as they are. An *image* column
is `struct<bytes, path>`, which `datasets` opens as images. `[rows, w_dim]` is a nested
`fixed_size_list`: one row in W, `num_ws` rows in W+.

```python
import duckdb

latents = "store/portraits/latents/in_domain/*.parquet"
duckdb.sql(f"select crop_id, psnr_db from '{latents}' order by psnr_db")
```

The footer of each file has the key of the table, those of its inputs, the settings and digests
that it was computed with, the run id, and a checksum of every byte.
"""


def page() -> str:
    """The page as Markdown."""
    recipe = load_recipe(RECIPES / "portraits.yaml", ModelStore())
    source = inspect.getsource(schemas)
    lines = [NOTICE, "", OPENING, *_overview(recipe)]
    for one in TABLES:
        lines += [f"## `{one.name}`", "", one.description, "", *_facts(one, recipe), ""]
        lines += _columns(*SCHEMAS[one.name], source)
    for name, (block, schema) in INTERNAL.items():
        lines += [f"## `{name}`", "", ABOUT[name], "", *_columns(block, schema, source)]
    words = ", ".join(f"`{word}`" for word in sorted(schemas.STATUSES))
    retried = ", ".join(f"`{word}`" for word in sorted(schemas.RETRIED))
    lines += ["## Statuses", "", f"A row of `images` and a reject have one of: {words}.", ""]
    lines += [f"The next run reads {retried} files again; the others keep their verdict.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _overview(recipe: Recipe) -> list[str]:
    rows = [
        (f"[`{one.name}`](#{one.name})", "shard" if one.is_sharded else "recipe", one.description)
        for one in TABLES
    ]
    return table(("table", "a file for each", "content"), rows)


def _facts(one: Table, recipe: Recipe) -> list[str]:
    stages = list(one.stages(recipe, ModelStore()))
    each = "shard" if one.is_sharded else "recipe"
    each += " and method" if stages and stages[0].method else ""
    facts = [f"- Code version {one.code_version}; one file for each {each}."]
    if stages and stages[0].inputs:
        facts.append(f"- Made of {', '.join(_inputs(stages[0]))}.")
    facts += [f"- Check `{check.__name__}`: {check.__doc__}" for check in one.checks]
    return facts


def _inputs(stage: Stage) -> list[str]:
    """The tables that it reads, whatever the method is called."""
    made = []
    for one in stage.inputs:
        name = re.sub("/.*", "/<method>", one.table)
        made.append(f"`{name}` (all shards)" if one.shards == "all" else f"`{name}`")
    return made


def _columns(block: str, schema: pa.Schema, source: str) -> list[str]:
    comments = _comments(block, source)
    rows = [
        (
            f"`{f.name}`",
            type_of(f.type),
            "yes" if f.nullable else "",
            comments.get(f.name, SHARED.get(f.name, "")),
        )
        for f in schema
    ]
    return table(("column", "type", "may be null", "meaning"), rows)


def type_of(kind: pa.DataType) -> str:
    """A column's type, with the sizes of a generator by name."""
    if kind == schemas.IMAGE_TYPE:
        return "image"
    if pa.types.is_fixed_size_list(kind):
        sizes, item = [kind.list_size], kind.value_type
        while pa.types.is_fixed_size_list(item):
            sizes, item = [*sizes, item.list_size], item.value_type
        named = [{ROWS: "rows", W_DIM: "w_dim"}.get(size, str(size)) for size in sizes]
        return f"{type_of(item)} [{', '.join(named)}]"
    if pa.types.is_list(kind):
        return f"list of {type_of(kind.value_type)}"
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _comments(block: str, source: str) -> dict[str, str]:
    """column => comment beside it, in the assignment or function of that name."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        target = getattr(node, "name", None) or getattr(getattr(node, "target", None), "id", None)
        if target == block:
            chosen = lines[node.lineno - 1 : node.end_lineno]
            found = (re.search(r'\("(\w+)",.*?\),?\)?\s+# (.*)', line) for line in chosen)
            return {match[1]: match[2] for match in found if match}
    raise KeyError(f"ops/schemas.py has no {block}")
