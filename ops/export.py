"""Export: select the crops and partners of the exported set, and stream their rows in order.

Selection first reads ids and labels only, without images; then each shard is streamed once more
and its selected rows are kept. Rows are ranked by the hash of their ids, so the selection depends
only on the requested counts and the candidates, not on their order.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import pyarrow as pa

from invertory.images import decode, encode, resize
from invertory.ops import schemas
from invertory.ops.augment import Group
from invertory.ops.render import ImageFormat

Counts = Literal["all", "balanced"] | Mapping[Group, int]
GROUPS: tuple[Group, ...] = ((False, False), (False, True), (True, False), (True, True))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row as selection sees it: a crop ("original") or its partner."""

    sample_id: str
    pair_id: str  # the crop's id
    group: Group

    @property
    def is_partner(self) -> bool:
        return self.sample_id != self.pair_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The selected rows by sample_id, and the counts by (target, protected) group."""

    chosen: Mapping[str, Candidate]
    before: Mapping[Group, int]  # originals with labels
    partners: Mapping[Group, int]  # available partners
    after: Mapping[Group, int]  # selected originals and partners together


@dataclass(frozen=True, slots=True, kw_only=True)
class Recode:
    """Convert images to one size and one format; None keeps the size or the format."""

    size_px: int | None = None
    format: ImageFormat | None = None

    def __call__(self, data: bytes) -> bytes:
        if self.size_px is None and self.format is None:
            return data
        image = decode(data)
        size_px = self.size_px or image.width
        name = self.format or cast("ImageFormat", image.format.lower())
        if (size_px, size_px) == (image.width, image.height) and name == image.format.lower():
            return data
        return encode(resize(image.pixels, size_px, size_px), name)


UNCHANGED = Recode()


def originals(
    attributes: Iterable[pa.RecordBatch],
    target: tuple[str, float],
    protected: tuple[str, float],
) -> Iterator[Candidate]:
    """ATTRIBUTES rows => candidates; a label is score >= threshold of its (score, threshold)."""
    (target_name, target_limit), (protected_name, protected_limit) = target, protected
    for batch in attributes:
        ids = batch.column("crop_id").to_pylist()
        a = batch.column(f"score_{target_name}").to_pylist()
        g = batch.column(f"score_{protected_name}").to_pylist()
        for crop_id, target_score, protected_score in zip(ids, a, g, strict=True):
            group = (target_score >= target_limit, protected_score >= protected_limit)
            yield Candidate(crop_id, crop_id, group)


def partners(augmentation: Iterable[pa.RecordBatch]) -> Iterator[Candidate]:
    """AUGMENTATION rows => candidates. The image column need not be read."""
    for batch in augmentation:
        names = ("sample_id", "crop_id", "target_label", "protected_label")
        for sample_id, crop_id, a, g in zip(
            *(batch.column(name).to_pylist() for name in names), strict=True
        ):
            yield Candidate(sample_id, crop_id, (a, g))


def plan_export(
    candidates: Iterable[Candidate],
    counts: Counts = "balanced",
    unit: Literal["pairs", "rows"] = "pairs",
) -> Plan:
    """Select the rows to export.

    With unit "pairs" only crops with a partner are selected, both together, so that each target
    label has as many rows with the protected attribute as without. With "rows" crops come first
    and partners fill what is missing. `counts` is "all"; "balanced", the largest number for which
    all groups are equal; or a number for each (target, protected) group, which must be available.
    """
    by_id = {candidate.sample_id: candidate for candidate in candidates}
    offered = _complete_pairs(by_id) if unit == "pairs" else by_id
    by_group: dict[Group, list[Candidate]] = {group: [] for group in GROUPS}
    for candidate in offered.values():
        by_group[candidate.group].append(candidate)
    selected_counts = _select_counts(
        counts, {group: len(rows) for group, rows in by_group.items()}, unit
    )
    chosen = [
        candidate
        for group, rows in by_group.items()
        for candidate in sorted(rows, key=lambda row: _rank(row, unit))[: selected_counts[group]]
    ]
    return Plan(
        chosen={candidate.sample_id: candidate for candidate in chosen},
        before=_count(row for row in by_id.values() if not row.is_partner),
        partners=_count(row for row in by_id.values() if row.is_partner),
        after=_count(chosen),
    )


def exported_rows(
    plan: Plan,
    crops: Iterable[pa.RecordBatch],
    augmentation: Iterable[pa.RecordBatch],
    recode: Recode = UNCHANGED,
) -> Iterator[pa.RecordBatch]:
    """ALIGNED and AUGMENTATION rows of a shard => its selected rows, as EXPORTED."""
    uris: dict[str, str] = {}  # by crop_id, for the partners that follow
    for batch in crops:
        for crop_id, uri in zip(
            *(batch.column(n).to_pylist() for n in ("crop_id", "uri")), strict=True
        ):
            uris[crop_id] = uri
        yield from _rows(plan, batch, "crop_id", "crop", "original", uris, recode)
    for batch in augmentation:
        yield from _rows(plan, batch, "sample_id", "picture", "partner", uris, recode)


def _rows(
    plan: Plan,
    batch: pa.RecordBatch,
    key: str,
    image_column: str,
    role: str,
    uris: Mapping[str, str],
    recode: Recode,
) -> Iterator[pa.RecordBatch]:
    ids = batch.column(key).to_pylist()
    positions = [i for i, row_id in enumerate(ids) if row_id in plan.chosen]
    if not positions:
        return
    taken = batch.take(pa.array(positions))
    rows: list[dict[str, Any]] = []
    for i, crop_id in enumerate(taken.column("crop_id").to_pylist()):
        candidate = plan.chosen[ids[positions[i]]]
        if crop_id not in uris:
            raise ValueError(
                f"expected crop {crop_id} of partner {candidate.sample_id} in the same shard, got "
                "none; pass the aligned and augmentation rows of one shard together"
            )
        rows.append(
            {
                "sample_id": candidate.sample_id,
                "pair_id": candidate.pair_id,
                "role": role,
                "crop_id": crop_id,
                "image_id": taken.column("image_id")[i].as_py(),
                "uri": uris[crop_id],
                "target_label": candidate.group[0],
                "protected_label": candidate.group[1],
                "image": {
                    "bytes": recode(taken.column(image_column)[i]["bytes"].as_py()),
                    "path": None,
                },
            }
        )
    yield pa.RecordBatch.from_pylist(rows, schema=schemas.EXPORTED)


def _complete_pairs(by_id: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """Return the crops, and their partners, that share the target label but not the protected."""
    kept: dict[str, Candidate] = {}
    for candidate in by_id.values():
        crop = by_id.get(candidate.pair_id)
        if candidate.is_partner and crop and candidate.group == (crop.group[0], not crop.group[1]):
            kept |= {crop.sample_id: crop, candidate.sample_id: candidate}
    return kept


def _select_counts(counts: Counts, available: Mapping[Group, int], unit: str) -> dict[Group, int]:
    if counts == "all":
        return dict(available)
    if counts == "balanced":
        return dict.fromkeys(GROUPS, min(available.values()))
    assert not isinstance(counts, str), counts
    requested = {group: counts.get(group, 0) for group in GROUPS}
    short = {group: available[group] for group in GROUPS if available[group] < requested[group]}
    if short:
        raise ValueError(
            f"expected {requested} rows by (target, protected), got only {short}; "
            "request fewer, or augment more of the collection"
        )
    if unit == "pairs" and any(requested[a, False] != requested[a, True] for a in (False, True)):
        raise ValueError(
            f"expected equal counts with and without the protected attribute, got {requested}; "
            "a pair adds one row to each: use unit 'rows' for other counts"
        )
    return requested


def _rank(row: Candidate, unit: str) -> tuple[bool, str, str]:
    """Sort key of the selection. Both rows of a pair rank equally, so pairs stay together."""
    return (
        unit == "rows" and row.is_partner,
        hashlib.sha256(row.pair_id.encode()).hexdigest(),
        row.sample_id,
    )


def _count(rows: Iterable[Candidate]) -> dict[Group, int]:
    candidate = Counter(row.group for row in rows)
    return {group: candidate[group] for group in GROUPS}
