"""A run computes what is missing or stale, and nothing else."""

from __future__ import annotations

import shutil

from invertory.pipelines.collections.collection import Collection

METHOD = "projector"


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


def test_a_new_file_becomes_a_new_shard_and_old_shards_keep_their_bytes(
    copy, draw_pictures, num_drawn
):
    before = files_of(copy)
    draw_pictures(copy.folder / "pictures", 1, first=num_drawn)
    assert copy.run()["new_shards"] == ["shard-000003"]
    after = files_of(copy)
    assert after.items() >= {k: v for k, v in before.items() if "exports/" not in k}.items()
    assert copy.store.num_rows(f"latents/{METHOD}", "shard-000003") == 1


def test_files_whose_times_alone_have_changed_are_not_dealt_again(copy):
    for path in (copy.folder / "pictures").glob("*.png"):
        path.touch()
    assert copy.run()["is_up_to_date"]
    assert copy.run()["new_shards"] == []
    assert len(copy.store.shards("entries")) == 2


def test_a_touched_file_is_read_once(copy, monkeypatch):
    (copy.folder / "pictures/003.png").touch()
    read, opened = Collection.read, []
    monkeypatch.setattr(Collection, "read", lambda *a: opened.append(a[1]) or read(*a))
    copy.run()
    copy.run()
    assert opened == ["pictures/003.png"]
    (copy.folder / "pictures/004.png").touch()
    copy.run()
    assert opened == ["pictures/003.png", "pictures/004.png"]


def test_a_file_with_other_bytes_is_dealt_again(copy, draw_pictures, num_drawn):
    (new,) = draw_pictures(copy.folder / "drawn", 1, first=num_drawn)
    shutil.move(new, copy.folder / "pictures/003.png")
    assert copy.run()["new_shards"] == ["shard-000003"]
    (row,) = copy.store.table("images", "shard-000003").to_pylist()
    assert (row["status"], row["uri"]) == ("ok", "pictures/003.png")


def test_what_lies_in_the_collection_twice_is_inverted_once_whatever_its_shard(copy):
    num_latents = len(copy.column(f"latents/{METHOD}", "crop_id"))
    shutil.copy(copy.folder / "pictures/003.png", copy.folder / "pictures/twin.png")
    copy.run()
    (row,) = copy.store.table("images", "shard-000003").to_pylist()
    assert (row["status"], row["error"]) == ("duplicate", "pictures/003.png")
    assert len(copy.column(f"latents/{METHOD}", "crop_id")) == num_latents
