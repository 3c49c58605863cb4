"""Export: which crops and partners make up the exported set, and their rows in order.

First the index is planned (ids and labels only, no pictures), then the shards are streamed once
more and the chosen rows pass. Choice is by the hash of an id: it depends on neither the order of
rows nor on anything else in the collection but the numbers asked for.
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
    """What planning knows of a row: a crop ("original") or its partner."""

    sample_id: str
    pair_id: str  # the crop's id
    group: Group

    @property
    def is_partner(self) -> bool:
        return self.sample_id != self.pair_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen rows by sample_id, and the counts by (target, protected) group."""

    chosen: Mapping[str, Candidate]
    before: Mapping[Group, int]  # originals with labels
    partners: Mapping[Group, int]  # partners that were at hand
    after: Mapping[Group, int]  # chosen, originals and partners together


@dataclass(frozen=True, slots=True, kw_only=True)
class Recode:
    """Pictures of the set at one size and in one format; None keeps each as it is."""

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
    """ATTRIBUTES rows => candidates; a (score, threshold) makes a label: score >= threshold."""
    (target_name, target_limit), (protected_name, protected_limit) = target, protected
    for batch in attributes:
        ids = batch.column("crop_id").to_pylist()
        a = batch.column(f"score_{target_name}").to_pylist()
        g = batch.column(f"score_{protected_name}").to_pylist()
        for crop_id, target_score, protected_score in zip(ids, a, g, strict=True):
            group = (target_score >= target_limit, protected_score >= protected_limit)
            yield Candidate(crop_id, crop_id, group)


def partners(augmentation: Iterable[pa.RecordBatch]) -> Iterator[Candidate]:
    """AUGMENTATION rows => candidates. The pictures' column need not be read."""
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
    """Choose what is exported.

    "pairs": only crops with a partner, both of them, so that each target label has as many rows
    with as without the protected attribute. "rows": crops first, partners where crops run out.
    `counts`: "all"; "balanced", the most for which all groups are equal; or a number for each
    (target, protected) group, which must be at hand.
    """
    by_id = {candidate.sample_id: candidate for candidate in candidates}
    offered = _complete_pairs(by_id) if unit == "pairs" else by_id
    by_group: dict[Group, list[Candidate]] = {group: [] for group in GROUPS}
    for candidate in offered.values():
        by_group[candidate.group].append(candidate)
    numbers = _numbers(counts, {group: len(rows) for group, rows in by_group.items()}, unit)
    chosen = [
        candidate
        for group, rows in by_group.items()
        for candidate in sorted(rows, key=lambda row: _rank(row, unit))[: numbers[group]]
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
    """A shard's ALIGNED and AUGMENTATION rows => its chosen rows, as EXPORTED."""
    uris: dict[str, str] = {}  # of crops whose partner is to come
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
    """Crops with a partner that has the same target label and the other protected one."""
    kept: dict[str, Candidate] = {}
    for candidate in by_id.values():
        crop = by_id.get(candidate.pair_id)
        if candidate.is_partner and crop and candidate.group == (crop.group[0], not crop.group[1]):
            kept |= {crop.sample_id: crop, candidate.sample_id: candidate}
    return kept


def _numbers(counts: Counts, available: Mapping[Group, int], unit: str) -> dict[Group, int]:
    if counts == "all":
        return dict(available)
    if counts == "balanced":
        return dict.fromkeys(GROUPS, min(available.values()))
    assert not isinstance(counts, str), counts
    requested = {group: counts.get(group, 0) for group in GROUPS}
    short = {group: available[group] for group in GROUPS if available[group] < requested[group]}
    if short:
        raise ValueError(
            f"expected {requested} rows by (target, protected), got only {short} at hand; "
            "ask for fewer, or augment more of the collection"
        )
    if unit == "pairs" and any(requested[a, False] != requested[a, True] for a in (False, True)):
        raise ValueError(
            f"expected equal numbers with and without the protected attribute, got {requested}; "
            "a pair gives one row to each: use unit 'rows' for other numbers"
        )
    return requested


def _rank(row: Candidate, unit: str) -> tuple[bool, str, str]:
    """Order of choice. In pairs both rows have one rank, so that the same pairs are taken."""
    return (
        unit == "rows" and row.is_partner,
        hashlib.sha256(row.pair_id.encode()).hexdigest(),
        row.sample_id,
    )


def _count(rows: Iterable[Candidate]) -> dict[Group, int]:
    candidate = Counter(row.group for row in rows)
    return {group: candidate[group] for group in GROUPS}
