"""A recipe on drawn portraits and broken files: rows, labels, scores, cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from invertory.pipelines.recipe.recipe import load_recipe
from invertory.resources import models
from invertory.resources.models import ModelStore
from invertory.resources.portraits import Portraits


@pytest.fixture(scope="module")
def finished(tmp_path_factory, open_place, domain):
    """A finished run on drawn portraits and broken files, with the default method."""
    folder = tmp_path_factory.mktemp("portraits")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(models, "BUNDLED", domain.bundle(folder / "bundled", *domain.networks))
        place = open_place(folder, monkeypatch)
        domain.write(folder, domain.recipe([domain.address, "demo://hostile"]))
        told = place.json("run", "drawn.yaml")
        assert told["failures"] == []
        tables = place.tables("drawn")
        rows = {
            table: [row for batch in tables.read_all(table) for row in batch.to_pylist()]
            for table in tables.tables()
        }
        rejects = tables.rejects("attributes", "shard-000001").to_pylist()
        assert place.json("run", "drawn.yaml")["is_up_to_date"]
        assert Path(place.json("gallery", "drawn.yaml")["gallery"]).is_file()
    return folder, rows, rejects


def test_every_portrait_and_every_broken_file_has_a_row(finished):
    rows = finished[1]["images"]
    drawn = [row for row in rows if row["uri"].startswith("portraits://")]
    assert len(drawn) == 12 and {row["status"] for row in drawn} == {"ok"}
    statuses = {row["uri"].rpartition("/")[2]: row["status"] for row in rows}
    assert statuses["empty.jpg"] == "empty" and statuses["gigantic.png"] == "too_large"
    assert statuses["sound.jpg"] == "ok" and "no_face.png" not in statuses


def test_every_crop_is_inverted_in_domain(finished):
    latents = finished[1]["latents/in_domain"]
    assert len(latents) == len(finished[1]["aligned"])
    assert {"loss_domain", "loss_mse"} <= set(latents[0])


def test_the_tables_say_whose_features_measured_the_distance(finished):
    columns = [name for name in finished[1]["latents/in_domain"][0] if "perceptual_" in name]
    assert columns == ["perceptual_portraits_classifier_features"]
    assert "lpips" not in json.dumps(list(finished[1]["latents/in_domain"][0]))


def test_labels_are_what_was_drawn(finished):
    uris = {row["crop_id"]: row["uri"] for row in finished[1]["aligned"]}
    world = load_recipe(finished[0] / "drawn.yaml", ModelStore()).collection.uris[0]
    asked = Portraits.parse(world)
    for row in finished[1]["attributes"]:
        number = int(uris[row["crop_id"]].rpartition("/")[2].removesuffix(".png"))
        attributes = asked.portrait(number).attributes
        assert row["score_true_glasses"] == attributes["glasses"]
        assert row["score_age_years"] == pytest.approx(attributes["age_years"])


def test_what_nobody_labelled_is_a_reject_with_a_reason(finished):
    assert {r["status"] for r in finished[2]} == {"not_scored"}
    assert "is not from portraits:" in finished[2][0]["error"]


def test_edited_pictures_have_the_scores_of_the_classifier_alone(finished):
    (row, *_) = finished[1]["edits/in_domain"]
    assert {name for name in row if name.startswith("score_")} == {"score_glasses", "score_sex"}


def test_a_boundary_can_be_fitted_on_the_labels_of_the_collection(finished):
    sources = {row["attribute"]: row["source"] for row in finished[1]["boundaries/in_domain"]}
    assert sources == {"glasses": "samples", "age_years": "collection"}


def test_the_networks_that_took_part_have_their_cards(finished, domain):
    names = {row["name"] for row in finished[1]["models"]}
    assert names == set(domain.networks)
