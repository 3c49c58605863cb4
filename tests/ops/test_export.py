"""Selection of the exported rows, and reading the written files with common libraries."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pytest

from invertory.images import decode, encode
from invertory.ops import schemas
from invertory.ops.datasheet import Datasheet
from invertory.ops.export import (
    GROUPS,
    Candidate,
    Recode,
    exported_rows,
    originals,
    partners,
    plan_export,
)
from invertory.ops.writers import Create, write_set

ALIGNED = pa.schema([schemas.ALIGNED.field(n) for n in ("crop_id", "image_id", "uri", "crop")])
PARTNERS = pa.schema(
    [
        schemas.augmentation(1, 4, ()).field(name)
        for name in (
            "sample_id",
            "crop_id",
            "image_id",
            "target_label",
            "protected_label",
            "picture",
        )
    ]
)
SCORES = {"target": ("smile", 0.5), "protected": ("old", 0.5)}


def picture(number: int, format: str = "png") -> dict[str, object]:
    pixels = np.full((8, 8, 3), number, np.uint8)
    return {"bytes": encode(pixels, format), "path": None}


def group_of(number: int) -> tuple[bool, bool]:
    """60 unbalanced crops: a fifth are old, a half are smiling."""
    return number % 2 == 0, number % 5 == 0


@pytest.fixture(scope="module")
def crops() -> pa.RecordBatch:
    rows = [
        {"crop_id": f"{i:03d}:0", "image_id": f"{i:03d}", "uri": f"{i}.jpg", "crop": picture(i)}
        for i in range(60)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=ALIGNED)


@pytest.fixture(scope="module")
def attributes() -> pa.RecordBatch:
    rows = [
        {"crop_id": f"{i:03d}:0", "image_id": f"{i:03d}"}
        | dict(zip(("score_smile", "score_old"), map(float, group_of(i)), strict=True))
        for i in range(60)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=schemas.attributes(("smile", "old")))


@pytest.fixture(scope="module")
def augmentation() -> pa.RecordBatch:
    """All crops except every third have a partner."""
    rows = [
        {
            "sample_id": f"{i:03d}:0:partner",
            "crop_id": f"{i:03d}:0",
            "image_id": f"{i:03d}",
            "target_label": group_of(i)[0],
            "protected_label": not group_of(i)[1],
            "picture": picture(100 + i, "jpeg"),
        }
        for i in range(60)
        if i % 3
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PARTNERS)


@pytest.fixture(scope="module")
def candidates(attributes: pa.RecordBatch, augmentation: pa.RecordBatch) -> list[Candidate]:
    return [*originals([attributes], **SCORES), *partners([augmentation])]


def roles(chosen: list[Candidate]) -> Counter:
    return Counter((row.group, row.is_partner) for row in chosen)


def test_pairs_are_balanced_and_complete(candidates: list[Candidate]) -> None:
    plan = plan_export(candidates)
    assert set(plan.after.values()) == {20}
    assert plan.before == {g: sum(group_of(i) == g for i in range(60)) for g in GROUPS}
    ids = set(plan.chosen)
    assert all({row.pair_id, f"{row.pair_id}:partner"} <= ids for row in plan.chosen.values())


def test_balanced_rows_take_crops_first(candidates: list[Candidate]) -> None:
    plan = plan_export(candidates, "balanced", "rows")
    found = roles(list(plan.chosen.values()))
    assert len(set(plan.after.values())) == 1
    for group in GROUPS:
        assert found[group, False] == min(plan.before[group], plan.after[group])


def test_all_rows_are_all(candidates: list[Candidate]) -> None:
    assert len(plan_export(candidates, "all", "rows").chosen) == 100
    assert len(plan_export(candidates, "all", "pairs").chosen) == 80


def test_requested_counts_are_exported(candidates: list[Candidate]) -> None:
    wanted = {(True, True): 7, (True, False): 3, (False, False): 1}
    plan = plan_export(candidates, wanted, "rows")
    assert plan.after == {(False, True): 0} | wanted
    pairs = plan_export(candidates, {(True, True): 5, (True, False): 5}, "pairs")
    assert Counter(row.pair_id for row in pairs.chosen.values()).most_common(1)[0][1] == 2
    assert len({row.pair_id for row in pairs.chosen.values()}) == 5


def test_counts_beyond_the_available_rows_are_refused(candidates: list[Candidate]) -> None:
    with pytest.raises(ValueError, match="request fewer"):
        plan_export(candidates, {(True, True): 1000}, "rows")
    with pytest.raises(ValueError, match="use unit 'rows'"):
        plan_export(candidates, {(True, True): 5}, "pairs")


def test_order_of_candidates_does_not_matter(candidates: list[Candidate]) -> None:
    for unit in ("pairs", "rows"):
        forth = plan_export(candidates, {g: 4 for g in GROUPS}, unit)
        back = plan_export(candidates[::-1], {g: 4 for g in GROUPS}, unit)
        assert forth.chosen == back.chosen


def test_a_larger_set_contains_the_smaller_one(candidates: list[Candidate]) -> None:
    small, large = (plan_export(candidates, {g: n for g in GROUPS}, "rows") for n in (3, 6))
    assert small.chosen.keys() < large.chosen.keys()


def test_a_partner_that_does_not_flip_is_not_a_pair() -> None:
    crop = Candidate("a", "a", (True, False))
    assert not plan_export([crop, Candidate("a:partner", "a", (False, True))], "all").chosen
    assert not plan_export([crop], "all").chosen


@pytest.fixture
def rows(
    candidates: list[Candidate], crops: pa.RecordBatch, augmentation: pa.RecordBatch
) -> list[pa.RecordBatch]:
    return list(exported_rows(plan_export(candidates), [crops], [augmentation]))


def test_exported_rows_are_the_selected_ones(
    rows: list[pa.RecordBatch], candidates: list[Candidate]
) -> None:
    table = pa.Table.from_batches(rows)
    assert table.schema.equals(schemas.EXPORTED)
    assert set(table.column("sample_id").to_pylist()) == set(plan_export(candidates).chosen)
    for row in table.to_pylist():
        number = int(row["image_id"])
        assert row["uri"] == f"{number}.jpg" and row["pair_id"] == row["crop_id"]
        is_partner = row["role"] == "partner"
        assert row["target_label"] == group_of(number)[0]
        assert row["protected_label"] == (group_of(number)[1] != is_partner)
        wanted = picture(100 + number, "jpeg") if is_partner else picture(number)
        assert row["image"] == wanted


def test_partner_without_its_crop_is_refused(
    candidates: list[Candidate], augmentation: pa.RecordBatch
) -> None:
    with pytest.raises(ValueError, match="of one shard together"):
        list(exported_rows(plan_export(candidates), [], [augmentation]))


@pytest.mark.parametrize(("size_px", "format"), [(4, None), (None, "png"), (4, "webp")])
def test_images_are_recoded_on_request(
    candidates: list[Candidate],
    crops: pa.RecordBatch,
    augmentation: pa.RecordBatch,
    size_px: int | None,
    format: str | None,
) -> None:
    recode = Recode(size_px=size_px, format=format)
    plan = plan_export(candidates)
    for batch in exported_rows(plan, [crops], [augmentation], recode):
        for row in batch.to_pylist():
            found = decode(row["image"]["bytes"])
            own = "JPEG" if row["role"] == "partner" else "PNG"
            assert found.format == (format or own).upper()
            assert found.width == (size_px or 8)


def test_matching_images_are_not_recoded() -> None:
    data = picture(9, "jpeg")["bytes"]
    assert Recode(size_px=8, format="jpeg")(data) == data


# Writers


def into(folder: Path) -> Create:
    """Write to a temporary file, then rename it."""

    @contextmanager
    def create(name: str) -> Iterator[BinaryIO]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".tmp").open("wb") as sink:
            yield sink
        path.with_suffix(".tmp").rename(path)

    return create


@pytest.fixture
def sheet(candidates: list[Candidate]) -> Datasheet:
    return Datasheet(
        title="Smiles",
        plan=plan_export(candidates),
        target="smile",
        protected="old",
        target_rule="score_smile >= 0.5",
        protected_rule="score_old >= 0.5",
        method="toy",
        selection="balanced pairs",
        cards=[{"name": "toy", "kind": "generator", "licence": "Apache-2.0", "source": "a|b"}],
        keys={"run_id": "r1"},
        rejects={"protected_kept": 20},
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no tar
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_the_tars(
    rows: list[pa.RecordBatch], sheet: Datasheet, tmp_path: Path
) -> None:
    webdataset = pytest.importorskip("webdataset")
    files = write_set("webdataset", rows, into(tmp_path), sheet.sheets(), rows_per_file=30)
    tars = [str(tmp_path / file.name) for file in files if file.name.endswith(".tar")]
    assert [file.num_rows for file in files[:3]] == [30, 30, 20]
    found = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(found) == 80
    by_id = {json.loads(sample["json"])["sample_id"]: sample for sample in found}
    partner = by_id["001:0:partner"]
    assert partner["__key__"] == "001_0_partner" and "jpg" in partner
    assert partner["jpg"] == picture(101, "jpeg")["bytes"]
    assert by_id["001:0"]["png"] == picture(1)["bytes"]


def test_datasets_reads_the_image_folder(
    rows: list[pa.RecordBatch], sheet: Datasheet, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "set"
    write_set("imagefolder", rows, into(folder), sheet.sheets(), rows_per_file=30)
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(found) == 80
    row = next(row for row in found if row["sample_id"] == "001:0")
    assert row["image"].size == (8, 8) and row["image"].getpixel((0, 0)) == (1, 1, 1)
    assert row["target_label"] is False and row["role"] == "original"


def test_datasets_reads_the_parquet_as_images(
    rows: list[pa.RecordBatch], sheet: Datasheet, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "set"
    files = write_set("parquet", rows, into(folder), sheet.sheets(), rows_per_file=50)
    assert [file.name for file in files[:2]] == ["train-000000.parquet", "train-000001.parquet"]
    found = datasets.load_dataset(
        "parquet",
        data_files=[str(folder / file.name) for file in files[:2]],
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert isinstance(found.features["image"], datasets.Image) and len(found) == 80
    row = next(row for row in found if row["sample_id"] == "001:0")
    assert row["image"].size == (8, 8) and row["image"].getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("format", ["webdataset", "imagefolder", "parquet"])
def test_manifest_lists_every_file_and_equal_rows_give_equal_bytes(
    rows: list[pa.RecordBatch], sheet: Datasheet, tmp_path: Path, format: str
) -> None:
    first, again = (
        write_set(format, rows, into(tmp_path / name), sheet.sheets()) for name in ("a", "b")
    )
    assert first == again
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    assert manifest["num_rows"] == 80
    assert [file["name"] for file in manifest["files"]] == [file.name for file in first[:-1]]
    for file in first:
        data = (tmp_path / "a" / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size_bytes, file.sha256)


def test_failure_leaves_no_manifest_and_no_final_name(
    rows: list[pa.RecordBatch], tmp_path: Path
) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield rows[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        write_set("webdataset", broken(), into(tmp_path), {})
    assert [path.name for path in tmp_path.iterdir()] == ["train-000000.tmp"]


def test_the_stream_is_consumed_row_by_row(rows: list[pa.RecordBatch]) -> None:
    """A file is started before the next batch is requested: batches do not accumulate."""
    opened: list[str] = []

    def create(name: str) -> AbstractContextManager[BinaryIO]:
        opened.append(name)
        return io.BytesIO()  # type: ignore[return-value]

    def watched() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            yield batch.slice(0, 10)
            assert opened

    write_set("webdataset", watched(), create, {}, rows_per_file=10)


def test_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="augment more"):
        write_set("parquet", [], into(tmp_path), {})
    with pytest.raises(ValueError, match="expected a format among"):
        write_set("lmdb", [], into(tmp_path), {})


def test_datasheet_has_counts_and_facts(sheet: Datasheet) -> None:
    content = json.loads(sheet.json())
    assert [row["exported"] for row in content["counts"]] == [20] * 4
    assert sum(row["collection"] for row in content["counts"]) == 60
    text = sheet.markdown()
    for words in (
        "80 images",
        "protected_kept 20",
        "a\\|b",
        "score_old >= 0.5",
        "`r1`",
        "not stated",
    ):
        assert words in text
