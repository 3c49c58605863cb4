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
from invertory.ops.render import PictureFormat

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
    format: PictureFormat | None = None

    def __call__(self, data: bytes) -> bytes:
        if self.size_px is None and self.format is None:
            return data
        found = decode(data)
        size_px = self.size_px or found.width
        name = self.format or cast("PictureFormat", found.format.lower())
        if (size_px, size_px) == (found.width, found.height) and name == found.format.lower():
            return data
        return encode(resize(found.pixels, size_px, size_px), name)


AS_IT_IS = Recode()


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
    known = {found.sample_id: found for found in candidates}
    offered = _complete_pairs(known) if unit == "pairs" else known
    by_group: dict[Group, list[Candidate]] = {group: [] for group in GROUPS}
    for found in offered.values():
        by_group[found.group].append(found)
    numbers = _numbers(counts, {group: len(rows) for group, rows in by_group.items()}, unit)
    chosen = [
        found
        for group, rows in by_group.items()
        for found in sorted(rows, key=lambda row: _rank(row, unit))[: numbers[group]]
    ]
    return Plan(
        chosen={found.sample_id: found for found in chosen},
        before=_count(row for row in known.values() if not row.is_partner),
        partners=_count(row for row in known.values() if row.is_partner),
        after=_count(chosen),
    )


def exported_rows(
    plan: Plan,
    crops: Iterable[pa.RecordBatch],
    augmentation: Iterable[pa.RecordBatch],
    recode: Recode = AS_IT_IS,
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
    picture: str,
    role: str,
    uris: Mapping[str, str],
    recode: Recode,
) -> Iterator[pa.RecordBatch]:
    ids = batch.column(key).to_pylist()
    places = [i for i, row_id in enumerate(ids) if row_id in plan.chosen]
    if not places:
        return
    taken = batch.take(pa.array(places))
    rows: list[dict[str, Any]] = []
    for i, crop_id in enumerate(taken.column("crop_id").to_pylist()):
        found = plan.chosen[ids[places[i]]]
        if crop_id not in uris:
            raise ValueError(
                f"expected the crop {crop_id} of the partner {found.sample_id} in the same shard, "
                "got none; give the aligned and augmentation rows of one shard together"
            )
        rows.append(
            {
                "sample_id": found.sample_id,
                "pair_id": found.pair_id,
                "role": role,
                "crop_id": crop_id,
                "image_id": taken.column("image_id")[i].as_py(),
                "uri": uris[crop_id],
                "target_label": found.group[0],
                "protected_label": found.group[1],
                "image": {"bytes": recode(taken.column(picture)[i]["bytes"].as_py()), "path": None},
            }
        )
    yield pa.RecordBatch.from_pylist(rows, schema=schemas.EXPORTED)


def _complete_pairs(known: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """Crops with a partner that has the same target label and the other protected one."""
    kept: dict[str, Candidate] = {}
    for found in known.values():
        crop = known.get(found.pair_id)
        if found.is_partner and crop and found.group == (crop.group[0], not crop.group[1]):
            kept |= {crop.sample_id: crop, found.sample_id: found}
    return kept


def _numbers(counts: Counts, at_hand: Mapping[Group, int], unit: str) -> dict[Group, int]:
    if counts == "all":
        return dict(at_hand)
    if counts == "balanced":
        return dict.fromkeys(GROUPS, min(at_hand.values()))
    assert not isinstance(counts, str), counts
    wanted = {group: counts.get(group, 0) for group in GROUPS}
    short = {group: at_hand[group] for group in GROUPS if at_hand[group] < wanted[group]}
    if short:
        raise ValueError(
            f"expected {wanted} rows by (target, protected), got only {short} at hand; "
            "ask for fewer, or augment more of the collection"
        )
    if unit == "pairs" and any(wanted[a, False] != wanted[a, True] for a in (False, True)):
        raise ValueError(
            f"expected equal numbers with and without the protected attribute, got {wanted}; "
            "a pair gives one row to each: use unit 'rows' for other numbers"
        )
    return wanted


def _rank(row: Candidate, unit: str) -> tuple[bool, str, str]:
    """Order of choice. In pairs both rows have one rank, so that the same pairs are taken."""
    return (
        unit == "rows" and row.is_partner,
        hashlib.sha256(row.pair_id.encode()).hexdigest(),
        row.sample_id,
    )


def _count(rows: Iterable[Candidate]) -> dict[Group, int]:
    found = Counter(row.group for row in rows)
    return {group: found[group] for group in GROUPS}
