"""What commands tell people and scripts, and the codes with which they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

METHOD = "projector"


def test_a_run_of_nothing_but_broken_files_fails_and_says_why_every_time(place, short_recipe):
    (place.folder / "pictures").mkdir()
    (place.folder / "pictures/empty.jpg").touch()
    place.write(short_recipe())
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


def test_what_is_not_there_is_not_found(copy, short_recipe):
    assert copy.invertory("trace", "feedfeed", "--recipe", "toy.yaml")[0] == 3
    copy.write(short_recipe("no_such_folder"))
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
