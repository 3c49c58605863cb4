"""Every file of a hostile collection has its row or its reason, and counts add up."""

from __future__ import annotations

from collections import Counter

import pytest

from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.recipe.recipe import load_recipe
from invertory.resources.models import ModelStore

METHOD = "projector"
SHARDED = ["images", "aligned", "attributes", f"latents/{METHOD}", f"edits/{METHOD}",
           f"augmentation/{METHOD}"]  # fmt: skip
ALL_SHARDS = ["models", "samples", f"boundaries/{METHOD}", f"exports/{METHOD}"]


def test_every_file_has_a_row_with_its_status_and_the_reason(finished, copy, num_drawn):
    rows = [row for batch in copy.store.read_all("images") for row in batch.to_pylist()]
    got = {row["uri"].removeprefix("pictures/hostile/"): row["status"] for row in rows}
    drawn = {f"pictures/{i:03d}.png": "ok" for i in range(num_drawn)}
    assert got == finished[1] | drawn
    assert all(bool(row["error"]) == (row["status"] != "ok") for row in rows)


def test_counts_add_up_through_all_tables(finished, copy, num_drawn):
    told = finished[2]
    assert not told["failures"] and told["num_computed"] == 2 * len(SHARDED) + len(ALL_SHARDS)
    rows = {table["table"]: table["num_rows"] for table in told["status"]["tables"]}
    files = sum(1 for path in (copy.folder / "pictures").rglob("*") if not path.is_dir())
    ok = Counter(copy.column("images", "status"))["ok"]
    rejects = {table: copy.num_rejects(table) for table in SHARDED}
    assert files == told["status"]["files"] == rows["images"] == 33 + num_drawn
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


def test_a_file_that_vanishes_after_listing_is_told(place, draw_pictures, short_recipe):
    first, *_ = draw_pictures(place.folder / "pictures", 4)
    place.write(short_recipe())
    deal_new(place.store, Collection(load_recipe("toy.yaml", ModelStore()), ModelStore()), 40)
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
