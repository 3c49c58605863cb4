"""The schema of every table in the store: its columns, and what one row is.

Images are `struct<bytes, path>`, which `datasets` opens as images. Tensors are nested
`fixed_size_list`, the only layout whose shape survives in pandas, polars, DuckDB and `datasets`.
A tensor table holds successes only: failures go to the rejects of the table.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

IMAGE_TYPE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def latent_type(num_rows: int, w_dim: int) -> pa.DataType:
    """[num_rows, w_dim] float32; `num_rows` is 1 in W and `num_ws` in W+."""
    return pa.list_(pa.list_(pa.field("item", pa.float32(), False), w_dim), num_rows)


def _table(*columns: tuple[str, pa.DataType] | tuple[str, pa.DataType, str]) -> pa.Schema:
    """A column is (name, type), or (name, type, "null") if it is nullable."""
    return pa.schema([pa.field(c[0], c[1], nullable=len(c) == 3) for c in columns])


ENTRIES: Final = _table(  # one row: a listed file of the collection; its shard never changes
    ("uri", pa.string()),
    ("size_bytes", pa.int64(), "null"),
    ("modified", pa.string(), "null"),
)

IMAGES: Final = _table(  # one row: a source file, including broken ones
    ("image_id", pa.string(), "null"),  # sha256 of the bytes; null where they could not be read
    ("uri", pa.string()),
    ("size_bytes", pa.int64(), "null"),
    ("format", pa.string(), "null"),
    ("mode", pa.string(), "null"),
    ("width_px", pa.int32(), "null"),  # upright: after the EXIF orientation
    ("height_px", pa.int32(), "null"),
    ("orientation", pa.int8(), "null"),
    ("num_frames", pa.int32(), "null"),
    ("status", pa.string()),  # one of STATUSES
    ("error", pa.string(), "null"),
)

ALIGNED: Final = _table(  # one row: a crop
    ("crop_id", pa.string()),  # image_id + ":" + face_index
    ("image_id", pa.string()),
    ("uri", pa.string()),
    ("face_index", pa.int16()),
    ("num_faces", pa.int16()),
    ("crop", IMAGE_TYPE),
    ("size_px", pa.int32()),
    ("quad", pa.list_(pa.field("item", pa.float64(), False), 8)),  # TL, BL, BR, TR; source px
    ("crop_to_source", pa.list_(pa.field("item", pa.float64(), False), 6)),  # affine, row major
    ("anchors", pa.list_(pa.field("item", pa.float64(), False), 8), "null"),  # eyes, mouth corners
    ("confidence", pa.float32(), "null"),
    ("roll_deg", pa.float32()),
    ("outside_share", pa.float32()),  # share of the quad outside the photograph
)

REJECTS: Final = _table(  # one row: an input for which a stage produced no row
    ("row_id", pa.string()),  # image_id, crop_id, ... of the input
    ("uri", pa.string(), "null"),
    ("status", pa.string()),
    ("error", pa.string()),
    ("attempts", pa.int32()),
)

STATUSES: Final = frozenset({
    "ok",
    # images
    "empty", "not_an_image", "truncated", "too_large", "too_small", "unsupported", "unreadable",
    "vanished", "duplicate", "decode_failed", "denied", "unavailable",
    # aligned, attributes
    "no_face", "face_too_small", "outside_picture", "not_scored",
    # latents, edits, augmentation
    "non_finite", "failed", "target_changed", "protected_kept",
})  # fmt: skip
RETRIED: Final = frozenset({"denied", "unavailable"})  # read again at the next run


def scores(attributes: Sequence[str]) -> list[pa.Field]:
    """Return the `score_<attribute>` columns: float32, the raw output of the scorer."""
    return [pa.field(f"score_{name}", pa.float32(), nullable=False) for name in attributes]


def attributes(names: Sequence[str]) -> pa.Schema:
    """One row: the scores of a crop."""
    return pa.schema([*_table(("crop_id", pa.string()), ("image_id", pa.string())), *scores(names)])


def latents(
    num_rows: int,
    w_dim: int,
    terms: Sequence[str],
    perceptual: str,
    *,
    has_state: bool = False,
    maps: Sequence[str] = (),
) -> pa.Schema:
    """One row: an inverted crop. `loss_<term>` are the unweighted terms at the iterate kept.

    `perceptual` names the distance and its column, since two distances are not comparable.
    `map_<name>` are small grey images from the inversion, such as masks: black is 0, white is 1.
    """
    state = _table(("state", pa.binary(), "null")) if has_state else ()  # float16 safetensors
    map_fields = _table(*((f"map_{name}", IMAGE_TYPE) for name in maps))
    fields = _table(
        ("crop_id", pa.string()),
        ("image_id", pa.string()),
        ("latent", latent_type(num_rows, w_dim)),
        ("steps", pa.int32()),
        ("best_step", pa.int32()),
        ("seed", pa.int64()),
        ("loss", pa.float32()),
        ("mse", pa.float32()),  # between synth and crop, both in [-1, 1]
        ("psnr_db", pa.float32()),
        ("ssim", pa.float32()),
        (perceptual_column(perceptual), pa.float32()),  # between synth and crop
        ("synth", IMAGE_TYPE),
    )
    losses = [pa.field(f"loss_{term}", pa.float32(), nullable=False) for term in terms]
    return pa.schema([*fields, *map_fields, *losses, *state])


def perceptual_column(name: str) -> str:
    """Return the column name of a perceptual distance; only LPIPS is called LPIPS."""
    return f"perceptual_{name}"


def samples(w_dim: int, names: Sequence[str]) -> pa.Schema:
    """One row: a scored sample of the generator; boundaries are fitted on these."""
    fields = _table(("sample_id", pa.string()), ("seed", pa.int64()), ("w", latent_type(1, w_dim)))
    return pa.schema([*fields, *scores(names)])


def boundaries(num_rows: int, w_dim: int) -> pa.Schema:
    """One row: the hyperplane (normal, offset) of an attribute, or an imported direction."""
    return _table(
        ("attribute", pa.string()),
        ("kind", pa.string()),  # "boundary" or "direction"
        ("normal", latent_type(num_rows, w_dim)),  # unit norm, towards higher scores
        ("offset", pa.float64(), "null"),  # distance = normal . w + offset
        ("spread", pa.float64(), "null"),  # standard deviation of the distance in the fitting data
        ("threshold", pa.float32(), "null"),  # a label is positive from this score on
        ("accuracy_validation", pa.float32(), "null"),
        ("accuracy_remaining", pa.float32(), "null"),
        ("num_positive", pa.int32(), "null"),
        ("num_negative", pa.int32(), "null"),
        ("conditions", pa.list_(pa.field("item", pa.string(), False))),
        ("source", pa.string()),  # "samples", "collection" or the URI it was imported from
        ("solver", pa.string(), "null"),
    )


def edits(num_rows: int, w_dim: int, names: Sequence[str]) -> pa.Schema:
    """One row: crop x attribute x step, with the scores of the edited image."""
    fields = _table(
        ("edit_id", pa.string()),  # crop_id + ":" + attribute + ":" + step
        ("crop_id", pa.string()),
        ("image_id", pa.string()),
        ("attribute", pa.string()),
        ("step", pa.float32()),
        ("layers", pa.string()),
        ("latent", latent_type(num_rows, w_dim)),
        ("picture", IMAGE_TYPE),
    )
    return pa.schema([*fields, *scores(names)])


def augmentation(num_rows: int, w_dim: int, names: Sequence[str]) -> pa.Schema:
    """One row: the partner of a crop, protected attribute flipped, target kept, both checked."""
    fields = _table(
        ("sample_id", pa.string()),  # crop_id + ":partner"
        ("crop_id", pa.string()),
        ("image_id", pa.string()),
        ("target_label", pa.bool_()),  # same for the crop and the partner
        ("protected_label", pa.bool_()),  # of the partner; the opposite of the crop's
        ("distance_target", pa.float32()),
        ("distance_protected", pa.float32()),
        ("latent", latent_type(num_rows, w_dim)),
        ("picture", IMAGE_TYPE),
    )
    return pa.schema([*fields, *scores(names)])


EXPORTED: Final = _table(  # one row: a sample of the exported set
    ("sample_id", pa.string()),
    ("pair_id", pa.string()),
    ("role", pa.string()),  # "original" or "partner"
    ("crop_id", pa.string()),
    ("image_id", pa.string()),
    ("uri", pa.string()),
    ("target_label", pa.bool_()),
    ("protected_label", pa.bool_()),
    ("image", IMAGE_TYPE),
)

EXPORT_INDEX: Final = pa.schema([field for field in EXPORTED if field.name != "image"])

CARDS: Final = _table(  # one row: a network that was used
    ("name", pa.string()),
    ("kind", pa.string()),  # generator, encoder, scorer, perceptual, detector
    ("source", pa.string()),
    ("sha256", pa.string()),
    ("architecture", pa.string()),  # json
    ("licence", pa.string()),
    ("provenance", pa.string()),
)
