"""A recipe's networks are found by their cards, verified, and part of the keys."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from invertory.inversion.in_domain.optimisation import InDomain
from invertory.pipelines.networks.resolve import method_networks, networks_of, perceptual_name
from invertory.pipelines.recipe.recipe import load_recipe
from invertory.pipelines.tables.registry import chain_of
from invertory.resources import models
from invertory.resources.models import ModelStore


def test_missing_weights_stop_a_run_before_it_begins(place, bundled, domain):
    domain.write(place.folder, domain.recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "portraits_generator" in errors and "invertory train" in errors
    assert not (place.folder / "store").exists()


def test_a_missing_encoder_is_told_with_the_remedy(place, bundled, domain):
    domain.bundle(bundled, "portraits_generator", "portraits_classifier")
    domain.write(place.folder, domain.recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "kind 'encoder'" in errors and "in_domain: {encoder: trained://" in errors


def test_a_damaged_network_stops_a_run_before_it_begins(place, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    with (bundled / "portraits_generator.safetensors").open("ab") as file:
        file.write(b"x")
    domain.write(place.folder, domain.recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "sha256" in errors and not (place.folder / "store").exists()


def test_a_digest_other_than_the_cards_is_refused(place, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    domain.write(place.folder, domain.recipe(generator={"name": "portraits", "weights":
                               "bundled://portraits_generator", "sha256": "0" * 64}))  # fmt: skip
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "expected bundled://portraits_generator to have sha256 000" in errors


def test_an_encoder_by_its_address_is_part_of_the_key(tmp_path, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    path = tmp_path / "own.safetensors"
    path.write_bytes((bundled / "portraits_domain_guided_encoder.safetensors").read_bytes())
    found = load_recipe(
        domain.write(tmp_path, domain.recipe(methods={"in_domain": {"encoder": str(path)}})),
        ModelStore(),
    )
    before = chain_of(found, ModelStore()).stage("latents/in_domain").models
    assert method_networks(found, "in_domain", ModelStore())["encoder"].sha256 in before.values()
    path.write_bytes(b"other")
    assert chain_of(found, ModelStore()).stage("latents/in_domain").models != before


def test_a_recipe_without_methods_is_inverted_in_domain(tmp_path, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    found = load_recipe(domain.write(tmp_path, domain.recipe(methods={})), ModelStore())
    assert found.methods == {"in_domain": asdict(InDomain())}


def test_without_an_encoder_a_recipe_must_name_its_methods(tmp_path, bundled, domain):
    domain.bundle(bundled, "portraits_generator")
    with pytest.raises(ValueError, match="the recipe needs 'methods'"):
        load_recipe(domain.write(tmp_path, domain.recipe(methods={})), ModelStore())


@pytest.mark.parametrize(
    ("names", "offline", "expected"),
    [
        (["portraits_classifier"], "1", "portraits_classifier"),
        (["portraits_classifier"], "0", "lpips_alex"),
        ([], "1", "lpips_alex"),
    ],
)
def test_features_stand_in_for_lpips_where_it_cannot_be_had(
    tmp_path, bundled, monkeypatch, names, offline, expected, domain
):
    domain.bundle(bundled, *names)
    monkeypatch.setenv("INVERTORY_OFFLINE", offline)
    auto = domain.recipe(
        generator={"name": "toy"}, perceptual={"name": "auto"}, boundaries={}, edits=[]
    )
    auto |= {"methods": {"projector": {}}, "attributes": {}}
    found = load_recipe(domain.write(tmp_path, auto), ModelStore())
    assert perceptual_name(found, ModelStore()) == expected
    assert chain_of(found, ModelStore()).stage("latents/projector").config["perceptual"] == {
        "name": expected
    }


def test_an_attribute_that_the_classifier_does_not_know_is_refused(tmp_path, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    wrong = domain.recipe(attributes={"glases": {"scorer": "classifier"}}, boundaries={}, edits=[])
    with pytest.raises(ValueError, match="has no score 'glases'; did you mean 'glasses'"):
        load_recipe(domain.write(tmp_path, wrong), ModelStore())


@pytest.mark.parametrize(
    "name", ("portraits_classifier", "portraits_domain_guided_encoder", "portraits_generator")
)
def test_the_bundled_networks_fit_their_recipe(name):
    if not (models.BUNDLED / f"{name}.safetensors").is_file():
        pytest.skip(f"no bundled weights {name}: make them with `invertory train`")
    found = networks_of(
        load_recipe(Path(__file__).parents[3] / "recipes/portraits.yaml", ModelStore()),
        ModelStore(),
    )
    assert name in found and not found[name].missing
