"""The whole chain on a folder with everything that can be wrong, by the commands a user gives."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageDraw

from pipelines.collection import Collection
from pipelines.hostile import write_hostile
from pipelines.intake import deal_new
from pipelines.recipe import load_recipe
from resources.models import ModelStore

NUM_DRAWN = 24
METHOD = "projector"
SHARDED = ["images", "aligned", "attributes", f"latents/{METHOD}", f"edits/{METHOD}",
           f"augmentation/{METHOD}"]  # fmt: skip
ALL_SHARDS = ["models", "samples", f"boundaries/{METHOD}", f"exports/{METHOD}"]
Recipe = Callable[..., dict[str, Any]]


def write_portrait(path: Path) -> Path:
    """An oval with eyes and a mouth on a grainy gradient: a photograph of a kind."""
    grain = np.random.default_rng(0).normal(0, 8, (320, 320, 3))
    ramp = np.linspace(40, 220, 320)[None, :, None] + grain
    picture = Image.fromarray(ramp.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((80, 40, 240, 280), fill=(224, 172, 140))
    for box in ((120, 120, 145, 140), (175, 120, 200, 140), (130, 210, 190, 225)):
        draw.ellipse(box, fill=(60, 30, 30))
    picture.save(path)
    return path


def short(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe up to the latents."""
    later = {"attributes", "boundaries", "edits", "augmentation", "export"}
    return {name: part for name, part in recipe.items() if name not in later}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, open_place, draw_pictures, whole_recipe):
    """(the folder of a finished run, what became of each hostile file, what the run told)."""
    folder = tmp_path_factory.mktemp("finished")
    expected = write_hostile(folder / "pictures/hostile", write_portrait(folder / "portrait.png"))
    draw_pictures(folder / "pictures", NUM_DRAWN)
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = open_place(folder, monkeypatch)
        place.write(whole_recipe())
        told = place.run()
    return folder, expected | {"no_face.png": "ok"}, told  # centre crops need no face


@pytest.fixture
def copy(finished, tmp_path, monkeypatch, open_place):
    """A copy of the finished folder, to do with as one likes."""
    shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)
    return open_place(tmp_path / "copy", monkeypatch)


def files_of(place) -> dict[str, tuple[bytes, int]]:
    """Content and time of every table file."""
    return {
        str(path.relative_to(place.folder / "store/toy")): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
        )
        for path in (place.folder / "store/toy").rglob("*.parquet")
        if "sets" not in path.parts
    }


def changed(before, after) -> set[str]:
    """Tables of which a file is new or another."""
    paths = {path for path in after if after[path] != before.get(path)}
    return {path.replace("/_rejects", "").rpartition("/")[0] for path in paths}


# Nothing is lost


def test_every_file_has_a_row_with_its_status_and_the_reason(finished, copy):
    rows = [row for batch in copy.store.read_all("images") for row in batch.to_pylist()]
    got = {row["uri"].removeprefix("pictures/hostile/"): row["status"] for row in rows}
    drawn = {f"pictures/{i:03d}.png": "ok" for i in range(NUM_DRAWN)}
    assert got == finished[1] | drawn
    assert all(bool(row["error"]) == (row["status"] != "ok") for row in rows)


def test_counts_add_up_through_all_tables(finished, copy):
    told = finished[2]
    assert not told["failures"] and told["num_computed"] == 2 * len(SHARDED) + len(ALL_SHARDS)
    rows = {table["table"]: table["num_rows"] for table in told["status"]["tables"]}
    files = sum(1 for path in (copy.folder / "pictures").rglob("*") if not path.is_dir())
    ok = Counter(copy.column("images", "status"))["ok"]
    rejects = {table: copy.num_rejects(table) for table in SHARDED}
    assert files == told["status"]["files"] == rows["images"] == 33 + NUM_DRAWN
    assert ok == rows["aligned"] + rejects["aligned"]
    for table in ("attributes", f"latents/{METHOD}"):
        assert rows["aligned"] == rows[table] + rejects[table]
    latents = rows[f"latents/{METHOD}"]
    assert 2 * latents == rows[f"edits/{METHOD}"] + rejects[f"edits/{METHOD}"]
    partners = rows[f"augmentation/{METHOD}"]
    assert latents == partners + rejects[f"augmentation/{METHOD}"]
    assert rows[f"exports/{METHOD}"] == 2 * partners > 0


@pytest.mark.parametrize(("table", "key"), [("aligned", "crop_id"), ("attributes", "crop_id"),
                         (f"latents/{METHOD}", "crop_id"), (f"edits/{METHOD}", "edit_id"),
                         (f"exports/{METHOD}", "sample_id")])  # fmt: skip
def test_no_row_is_there_twice(copy, table, key):
    ids = copy.column(table, key)
    assert len(ids) == len(set(ids)) > 0


# Only what is missing or stale


def test_a_second_run_is_up_to_date_and_touches_nothing(copy):
    before = files_of(copy)
    told = copy.run()
    assert told["is_up_to_date"] and told["num_computed"] == 0 and told["run_ids"] == []
    assert files_of(copy) == before


def test_changed_steps_of_an_edit_recompute_the_edits_alone(copy, whole_recipe):
    before = files_of(copy)
    copy.write(whole_recipe() | {"edits": [{"attribute": "red", "steps": [2.0]}]})
    assert copy.run()["num_computed"] == 2
    assert changed(before, files_of(copy)) == {f"edits/{METHOD}"}


def test_a_changed_inversion_recomputes_what_follows_and_nothing_before(copy, whole_recipe):
    before = files_of(copy)
    copy.write(whole_recipe() | {"methods": {METHOD: {"steps": 6, "w_samples": 256}}})
    assert copy.run()["failures"] == []
    wanted = {"latents", "edits", "augmentation", "exports"}
    assert changed(before, files_of(copy)) == {f"{table}/{METHOD}" for table in wanted}


def test_a_new_file_becomes_a_new_shard_and_old_shards_keep_their_bytes(copy, draw_pictures):
    before = files_of(copy)
    draw_pictures(copy.folder / "pictures", 1, first=NUM_DRAWN)
    assert copy.run()["new_shards"] == ["shard-000003"]
    after = files_of(copy)
    assert after.items() >= {k: v for k, v in before.items() if "exports/" not in k}.items()
    assert copy.store.num_rows(f"latents/{METHOD}", "shard-000003") == 1


def test_a_file_whose_time_has_changed_is_a_duplicate_of_itself(copy):
    num_latents = len(copy.column(f"latents/{METHOD}", "crop_id"))
    (copy.folder / "pictures/003.png").touch()
    assert copy.run()["new_shards"] == ["shard-000003"]
    (row,) = copy.store.table("images", "shard-000003").to_pylist()
    assert (row["status"], row["error"]) == ("duplicate", "pictures/003.png")
    assert len(copy.column(f"latents/{METHOD}", "crop_id")) == num_latents


def test_what_lies_in_the_collection_twice_is_inverted_once_whatever_its_shard(copy):
    num_latents = len(copy.column(f"latents/{METHOD}", "crop_id"))
    shutil.copy(copy.folder / "pictures/003.png", copy.folder / "pictures/twin.png")
    copy.run()
    (row,) = copy.store.table("images", "shard-000003").to_pylist()
    assert (row["status"], row["error"]) == ("duplicate", "pictures/003.png")
    assert len(copy.column(f"latents/{METHOD}", "crop_id")) == num_latents


# Files that go away


def test_a_file_that_vanishes_after_listing_is_told(place, draw_pictures, whole_recipe):
    first, *_ = draw_pictures(place.folder / "pictures", 4)
    place.write(short(whole_recipe()))
    deal_new(place.store, Collection(load_recipe("toy.yaml"), ModelStore()), 40)
    first.unlink()
    assert place.run()["status"]["files_by_status"] == {"ok": 3, "vanished": 1}
    assert len(place.column(f"latents/{METHOD}", "crop_id")) == 3


def test_a_file_that_vanishes_after_it_was_read_is_a_reject_of_its_crop(copy, whole_recipe):
    (copy.folder / "pictures/003.png").unlink()
    copy.write(whole_recipe() | {"alignment": {"kind": "centre", "size_px": 16}})
    assert copy.run()["failures"] == []
    (reject,) = [
        row
        for shard in copy.store.shards("aligned")
        for row in copy.store.rejects("aligned", shard).to_pylist()
    ]
    assert (reject["status"], reject["uri"]) == ("vanished", "pictures/003.png")


# What commands tell


def test_a_run_of_nothing_but_broken_files_fails_and_says_why_every_time(place, whole_recipe):
    (place.folder / "pictures").mkdir()
    (place.folder / "pictures/empty.jpg").touch()
    place.write(short(whole_recipe()))
    for _ in range(2):
        code, out, _ = place.invertory("run", "toy.yaml", "--json")
        told = json.loads(out)
        assert code == 1 and told["status"]["files_by_status"] == {"empty": 1}
        assert "reject_share" in told["failures"][0]
        assert place.store.shards("aligned") == []


def test_a_recipe_that_does_not_validate_is_wrong_use(place, whole_recipe):
    place.write(whole_recipe() | {"colection": {}})
    code, _, errors = place.invertory("run", "toy.yaml")
    assert code == 2 and "colection" in errors and "collection" in errors
    with pytest.raises(SystemExit) as stopped:
        place.invertory("run")
    assert stopped.value.code == 2


def test_what_is_not_there_is_not_found(copy, whole_recipe):
    assert copy.invertory("trace", "feedfeed", "--recipe", "toy.yaml")[0] == 3
    copy.write(short(whole_recipe("no_such_folder")))
    code, _, errors = copy.invertory("run", "toy.yaml")
    assert code == 3 and "no_such_folder" in errors


def test_weights_other_than_asked_for_stop_a_run_before_it_begins(place, whole_recipe):
    recipe = whole_recipe()
    recipe["attributes"]["red"]["sha256"] = "0" * 64
    place.write(recipe)
    code, _, errors = place.invertory("run", "toy.yaml")
    assert code == 4 and "scorer_red" in errors
    assert not (place.folder / "store").exists()


def test_status_tells_a_script_what_is_stale(copy, whole_recipe):
    (told,) = copy.json("status", "toy.yaml")
    assert {table["num_pending"] for table in told["tables"]} == {0}
    copy.write(whole_recipe() | {"edits": [{"attribute": "red", "steps": [2.0]}]})
    (told,) = copy.json("status", "toy.yaml")
    stale = {table["table"]: table["num_pending"] for table in told["tables"]}
    assert {name for name, number in stale.items() if number} == {f"edits/{METHOD}"}


def test_trace_finds_a_picture_by_every_name_it_has(copy):
    (image_id,) = [
        row["image_id"]
        for row in copy.store.table("images", "shard-000001").to_pylist()
        if row["uri"] == "pictures/003.png"
    ]
    names = [image_id, image_id[:8], f"{image_id}:0", f"{image_id}:0:red:+1", "003.png",
             "pictures/003.png"]  # fmt: skip
    found = [copy.json("trace", name, "--recipe", "toy.yaml")["tables"] for name in names]
    assert all(tables == found[0] for tables in found)
    assert {"aligned", f"latents/{METHOD}", f"boundaries/{METHOD}"} <= set(found[0])
    assert [row["step"] for row in found[0][f"edits/{METHOD}"]["rows"]] == [-1.0, 1.0]
    assert found[0][f"edits/{METHOD}"]["run_id"]


def test_trace_of_a_broken_file_says_what_is_wrong(copy):
    (row,) = copy.json("trace", "empty.jpg", "--recipe", "toy.yaml")["tables"]["images"]["rows"]
    assert row["status"] == "empty" and row["error"]


def test_models_and_recipes_parse(copy):
    names = {card["name"] for card in copy.json("models", "list")}
    assert "face-landmarker" in names
    assert copy.json("models", "show", "face-landmarker")["licence"]
    copy.json("recipes", "new", "mine", "--collection", "pictures")
    (mine,) = copy.json("recipes", "list")
    assert (mine["recipe"], mine["collection"]) == ("mine", ["pictures"])


def test_a_new_recipe_is_valid_and_is_not_overwritten(place):
    path = place.json("recipes", "new", "mine")["recipe"]
    assert place.json("recipes", "check", "mine", path) == []
    code, _, errors = place.invertory("recipes", "new", "mine")
    assert code == 2 and "exists" in errors
    Path(path).write_text("name: mine\n")
    code, out, _ = place.invertory("recipes", "check", "--json")
    assert code == 2 and "collection" in str(json.loads(out)[0]["problems"])


def test_people_get_tables_and_trees(copy):
    for command in (["run", "toy.yaml"], ["status", "toy.yaml"], ["models", "list"],
                    ["trace", "003.png", "--recipe", "toy.yaml"], ["recipes", "list"]):  # fmt: skip
        code, out, _ = copy.invertory(*command)
        assert code == 0 and out.strip()


def test_the_gallery_is_one_page(copy):
    path = Path(copy.json("gallery", "toy.yaml", "--rows", "3")["gallery"])
    text = path.read_text()
    assert text.lstrip().startswith("<!") and "src=http" not in text


# The exported set


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no tar
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_exported_tars_open(copy):
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, (copy.folder / f"store/toy/sets/{METHOD}/webdataset").glob("*.tar")))
    samples = webdataset.WebDataset(tars, shardshuffle=False)
    found = {json.loads(sample["json"])["sample_id"] for sample in samples}
    assert found == set(copy.column(f"exports/{METHOD}", "sample_id"))


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_the_exported_sets_open_in_datasets(copy, kind):
    datasets = pytest.importorskip("datasets")
    folder = copy.folder / f"store/toy/sets/{METHOD}/{kind}"
    what = {"data_dir": str(folder)}
    if kind == "parquet":
        what = {"data_files": sorted(map(str, folder.glob("*.parquet")))}
    found = datasets.load_dataset(kind, split="train", cache_dir=str(copy.folder / "hf"), **what)
    assert set(found["sample_id"]) == set(copy.column(f"exports/{METHOD}", "sample_id"))
    assert found[0]["image"].size == (32, 32)
    labels = Counter(zip(found["target_label"], found["protected_label"], strict=True))
    assert all(labels[target, True] == labels[target, False] for target in (True, False))


# Other stores, other collections


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An object store of our own, found as any other: by the environment."""
    moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_in_memory_and_one_on_s3_hold_the_same_tables(
    finished, copy, bucket, read_tables, monkeypatch
):
    expected = read_tables(copy.store)
    for root in (f"memory://{uuid.uuid4().hex}", f"{bucket}/store"):
        monkeypatch.setenv("INVERTORY_STORE", root)
        assert copy.run()["num_computed"] == finished[2]["num_computed"]
        assert read_tables(copy.store) == expected
        assert copy.run()["is_up_to_date"]
        assert not [path for path in copy.store.fs.find(copy.store.base) if "/_parts/" in path]


def as_tar(paths: list[Path], place, bucket: str) -> str:
    with tarfile.open(place.folder / "pictures.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    return "pictures.tar"


def as_parquet(paths: list[Path], place, bucket: str) -> str:
    cells = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    pq.write_table(pa.table({"image": cells}), place.folder / "pictures.parquet")
    return "pictures.parquet"


def as_objects(paths: list[Path], place, bucket: str) -> str:
    for path in paths:
        fsspec.filesystem("s3").put_file(str(path), f"{bucket}/pictures/{path.name}")
    return f"{bucket}/pictures"


@pytest.mark.parametrize("pack", [as_tar, as_parquet, as_objects])
def test_a_collection_gives_the_same_latents_however_it_is_packed(
    copy, finished, bucket, whole_recipe, pack
):
    latents = dict(zip(copy.column(f"latents/{METHOD}", "crop_id"),
                       copy.column(f"latents/{METHOD}", "latent"), strict=True))  # fmt: skip
    shutil.rmtree(copy.folder / "store")
    paths = sorted((copy.folder / "pictures").glob("*.png"))
    copy.write(short(whole_recipe(pack(paths, copy, bucket))))
    assert copy.run()["status"]["files_by_status"] == {"ok": NUM_DRAWN}
    ids = copy.column(f"latents/{METHOD}", "crop_id")
    assert copy.column(f"latents/{METHOD}", "latent") == [latents[crop_id] for crop_id in ids]
    (row,) = copy.json("trace", ids[0], "--recipe", "toy.yaml")["tables"]["images"]["rows"]
    assert "pictures" in row["uri"]


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def test_an_exported_program_scores_as_the_onnx_file_does(copy, whole_recipe):
    before = copy.column("attributes", "score_red")
    program = torch.export.export(Mean(), (torch.zeros(1, 3, 32, 32),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    (copy.folder / "mean.pt2").write_bytes(buffer.getvalue())
    recipe = short(whole_recipe())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    red = {"scorer": "torchscript", "uri": "mean.pt2", "sha256": digest, "size_px": 32}
    copy.write(recipe | {"attributes": {"red": red}})
    assert copy.run()["num_computed"] == 3  # two shards, and the networks' cards
    assert copy.column("attributes", "score_red") == pytest.approx(before, abs=1e-5)
