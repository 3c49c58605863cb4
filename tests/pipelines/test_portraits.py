"""The embedded domain in the pipeline: drawn collections, their labels, networks by their cards."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from invertory.classifier import AttributeClassifier
from invertory.encoders.pyramid import PyramidEncoder
from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion.in_domain import InDomain
from invertory.portraits import ATTRIBUTES, SEGMENTS, draw, render, row_seed
from pipelines.loading import load_method_networks
from pipelines.networks import fitting, method_networks, networks_of, perceptual_name
from pipelines.recipe import load_recipe
from pipelines.stages import chain_of
from resources import models
from resources.checkpoints import write_network
from resources.models import ModelStore

PX = 32
ADDRESS = "portraits://?num=12&seed=1&glasses|male=0.8&glasses|!male=0.2"
NETWORKS: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "portraits_generator": (
        "generator",
        "stylegan2",
        StyleGAN2,
        {"z_dim": 8, "w_dim": 8, "img_resolution": PX, "channel_base": 128, "channel_max": 8},
    ),
    "portraits_classifier": (
        "classifier",
        "attribute_classifier",
        AttributeClassifier,
        {"binary": ["glasses", "male"], "continuous": ["yaw_deg"], "size_px": 16, "widths": [4, 8]},
    ),
    "portraits_domain_guided_encoder": (
        "encoder",
        "residual_encoder",
        ResidualEncoder,
        {"resolution": PX, "num_ws": 8, "w_dim": 8, "channels": [4] * 4, "narrow": 2, "hidden": 8},
    ),
}


def bundle(folder: Path, *names: str) -> Path:
    """Networks of the real classes with weights at random, and their cards."""
    for name in names:
        kind, word, network, config = NETWORKS[name.replace("conventional", "domain_guided")]
        card = {
            "name": name,
            "kind": kind,
            "architecture": {"name": word, "config": config},
            "licence": "none",
            "provenance": "a test",
        }
        if kind != "classifier":
            card["generator"] = "portraits_generator"
        write_network(folder, name, filled(network(**config)), card)
    return folder


def filled(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights at random, so that latents differ in their pictures and pictures in their scores."""
    rng = torch.Generator().manual_seed(1)
    tensors = dict(network.state_dict())
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            scale = 100.0 if name.startswith("mapping.") else 0.5  # its rate is 0.01
            tensors[name] = scale * torch.randn(parameter.shape, generator=rng)
        elif name.endswith("affine.bias"):
            tensors[name] = torch.ones(parameter.shape)
    return tensors


def recipe(uri: Any = ADDRESS, **parts: Any) -> dict[str, Any]:
    fitted = {"num_samples": 40, "ratio": 0.5, "solver": "linear"}
    return {
        "name": "drawn",
        "collection": {"uri": uri},
        "alignment": {"kind": "centre", "size_px": PX},
        "generator": {"name": "portraits"},
        "perceptual": {"name": "portraits_classifier"},
        "methods": {"in_domain": {"steps": 2}},
        "attributes": {
            "glasses": {"scorer": "classifier"},
            "sex": {"scorer": "classifier", "score": "male"},
            "true_glasses": {"scorer": "labels", "column": "glasses"},
            "age_years": {"scorer": "labels"},
        },
        "boundaries": {"glasses": fitted, "age_years": {"fit": "collection", "ratio": 0.5}},
        "edits": [{"attribute": "glasses", "steps": [1.0]}],
        "checks": {"min_psnr_db": -50.0},
        "resources": {"device": "cpu", "batch_size": 16},
        **parts,
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "drawn.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of that of the bundled weights."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr(models, "BUNDLED", folder)
    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, open_place):
    """A finished run on drawn portraits and broken files, with the default method."""
    folder = tmp_path_factory.mktemp("portraits")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(models, "BUNDLED", bundle(folder / "bundled", *NETWORKS))
        place = open_place(folder, monkeypatch)
        write(folder, recipe([ADDRESS, "demo://hostile"]))
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
    world = load_recipe(finished[0] / "drawn.yaml").collection.uris[0]
    from resources.portraits import Portraits

    asked = Portraits.parse(world)
    for row in finished[1]["attributes"]:
        number = int(uris[row["crop_id"]].rpartition("/")[2].removesuffix(".png"))
        attributes = asked.portrait(number).attributes
        assert row["score_true_glasses"] == attributes["glasses"]
        assert row["score_age_years"] == pytest.approx(attributes["age_years"])


def test_what_nobody_labelled_is_a_reject_with_a_reason(finished):
    assert {r["status"] for r in finished[2]} == {"not_scored"}
    assert "no portrait of ours" in finished[2][0]["error"]


def test_edited_pictures_have_the_scores_of_the_classifier_alone(finished):
    (row, *_) = finished[1]["edits/in_domain"]
    assert {name for name in row if name.startswith("score_")} == {"score_glasses", "score_sex"}


def test_a_boundary_can_be_fitted_on_the_labels_of_the_collection(finished):
    sources = {row["attribute"]: row["source"] for row in finished[1]["boundaries/in_domain"]}
    assert sources == {"glasses": "samples", "age_years": "collection"}


def test_the_networks_that_took_part_have_their_cards(finished):
    names = {row["name"] for row in finished[1]["models"]}
    assert names == set(NETWORKS)


# Networks by their cards


def test_missing_weights_stop_a_run_before_it_begins(place, bundled):
    write(place.folder, recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "portraits_generator" in errors and "invertory train" in errors
    assert not (place.folder / "store").exists()


def test_a_missing_encoder_is_told_with_the_remedy(place, bundled):
    bundle(bundled, "portraits_generator", "portraits_classifier")
    write(place.folder, recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "kind 'encoder'" in errors and "in_domain: {encoder: trained://" in errors


def test_a_damaged_network_stops_a_run_before_it_begins(place, bundled):
    bundle(bundled, *NETWORKS)
    with (bundled / "portraits_generator.safetensors").open("ab") as file:
        file.write(b"x")
    write(place.folder, recipe())
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "sha256" in errors and not (place.folder / "store").exists()


def test_a_digest_other_than_the_cards_is_refused(place, bundled):
    bundle(bundled, *NETWORKS)
    write(place.folder, recipe(generator={"name": "portraits", "weights":
                               "bundled://portraits_generator", "sha256": "0" * 64}))  # fmt: skip
    code, _, errors = place.invertory("run", "drawn.yaml")
    assert code == 4 and "expected bundled://portraits_generator to have sha256 000" in errors


def test_each_method_gets_the_encoder_that_is_meant_for_it(tmp_path, bundled):
    names = ("portraits_conventional_encoder", "portraits_domain_guided_encoder")
    bundle(bundled, "portraits_generator", *names)
    found = load_recipe(write(tmp_path, recipe(methods={"in_domain": {}})))
    got = {
        method: fitting(found, method, "encoder").card.name
        for method in ("in_domain", "conventional_encoder", "domain_guided_encoder")
    }
    assert got == {
        "in_domain": names[1], "conventional_encoder": names[0], "domain_guided_encoder": names[1]
    }  # fmt: skip


def test_a_generator_of_invgan_gets_the_encoder_that_was_trained_with_it(tmp_path, bundled):
    stages = ("portraits_invgan", "portraits_invgan_naive")
    _, word, network, config = NETWORKS["portraits_generator"]
    for name in (f"{stage}_{part}" for stage in stages for part in ("generator", "encoder")):
        card = {"name": name, "architecture": {"name": word, "config": config}}
        made_for = name.replace("encoder", "generator")
        kind = {"kind": "generator"} if made_for == name else {"kind": "invgan"}
        own = kind if made_for == name else kind | {"generator": made_for}
        write_network(bundled, name, filled(network(**config)), card | own)
    for stage in stages:
        generator = {"name": "stylegan2", "weights": f"bundled://{stage}_generator"}
        told = recipe(generator=generator, perceptual={"name": "pixels"}, methods={"invgan": {}},
                      attributes={}, boundaries={}, edits=[])  # fmt: skip
        found = load_recipe(write(tmp_path, told))
        assert method_networks(found, "invgan")["invgan"].card.name == f"{stage}_encoder"


def test_encoders_of_a_kind_of_their_own_are_found_by_it(tmp_path, bundled):
    bundle(bundled, *NETWORKS)
    config = {"resolution": PX, "num_ws": 8, "w_dim": 8, "backbone": "small", "widths": [4] * 5}
    for kind in ("e4e", "psp", "restyle"):
        network = PyramidEncoder(**config, input_channels=6 if kind == "restyle" else 3)
        card = {
            "name": f"portraits_{kind}",
            "kind": kind,
            "architecture": {"name": "pyramid_encoder", "config": network.config},
            "generator": "portraits_generator",
        }
        write_network(bundled, card["name"], filled(network), card)
    methods = {
        "e4e": {},
        "psp": {},
        "restyle": {},
        "in_domain": {},
        "hybrid": {"encoder": "bundled://portraits_psp"},
    }
    found = load_recipe(write(tmp_path, recipe(methods=methods)))
    got = {
        (method, kind): network.card.name
        for method in methods
        for kind, network in method_networks(found, method).items()
    }
    assert got == {
        ("e4e", "e4e"): "portraits_e4e",
        ("psp", "psp"): "portraits_psp",
        ("restyle", "restyle"): "portraits_restyle",
        ("in_domain", "encoder"): "portraits_domain_guided_encoder",
        ("hybrid", "encoder"): "portraits_psp",
    }
    loaded = load_method_networks(found, "restyle", ModelStore())["restyle"]
    assert loaded.input_channels == 6
    over = load_recipe(write(tmp_path, recipe(methods={"restyle": {"over": "e4e"}})))
    assert method_networks(over, "restyle")["e4e"].card.name == "portraits_e4e"


def test_an_encoder_for_another_generator_is_not_taken(tmp_path, bundled):
    bundle(bundled, *NETWORKS)
    toy = recipe(generator={"name": "toy"}, methods={"in_domain": {}}, boundaries={}, edits=[])
    found = load_recipe(write(tmp_path, toy))
    assert "made for the generator 'toy'" in fitting(found, "in_domain", "encoder").missing


def test_an_encoder_by_its_address_is_part_of_the_key(tmp_path, bundled):
    bundle(bundled, *NETWORKS)
    path = tmp_path / "own.safetensors"
    path.write_bytes((bundled / "portraits_domain_guided_encoder.safetensors").read_bytes())
    found = load_recipe(write(tmp_path, recipe(methods={"in_domain": {"encoder": str(path)}})))
    before = chain_of(found).stage("latents/in_domain").models
    assert method_networks(found, "in_domain")["encoder"].sha256 in before.values()
    path.write_bytes(b"other")
    assert chain_of(found).stage("latents/in_domain").models != before


def test_a_recipe_without_methods_is_inverted_in_domain(tmp_path, bundled):
    bundle(bundled, *NETWORKS)
    found = load_recipe(write(tmp_path, recipe(methods={})))
    assert found.methods == {"in_domain": asdict(InDomain())}


def test_without_an_encoder_a_recipe_must_name_its_methods(tmp_path, bundled):
    bundle(bundled, "portraits_generator")
    with pytest.raises(ValueError, match="the recipe needs 'methods'"):
        load_recipe(write(tmp_path, recipe(methods={})))


@pytest.mark.parametrize(
    ("names", "offline", "expected"),
    [
        (["portraits_classifier"], "1", "portraits_classifier"),
        (["portraits_classifier"], "0", "lpips_alex"),
        ([], "1", "lpips_alex"),
    ],
)
def test_features_stand_in_for_lpips_where_it_cannot_be_had(
    tmp_path, bundled, monkeypatch, names, offline, expected
):
    bundle(bundled, *names)
    monkeypatch.setenv("INVERTORY_OFFLINE", offline)
    auto = recipe(generator={"name": "toy"}, perceptual={"name": "auto"}, boundaries={}, edits=[])
    auto |= {"methods": {"projector": {}}, "attributes": {}}
    found = load_recipe(write(tmp_path, auto))
    assert perceptual_name(found) == expected
    assert chain_of(found).stage("latents/projector").config["perceptual"] == {"name": expected}


def test_an_attribute_that_the_classifier_does_not_know_is_refused(tmp_path, bundled):
    bundle(bundled, *NETWORKS)
    wrong = recipe(attributes={"glases": {"scorer": "classifier"}}, boundaries={}, edits=[])
    with pytest.raises(ValueError, match="has no score 'glases'; did you mean 'glasses'"):
        load_recipe(write(tmp_path, wrong))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_bundled_networks_fit_their_recipe(name):
    if not (models.BUNDLED / f"{name}.safetensors").is_file():
        pytest.skip(f"no bundled weights {name}: make them with `invertory train`")
    found = networks_of(load_recipe(Path(__file__).parents[2] / "recipes/portraits.yaml"))
    assert name in found and not found[name].missing


# The command


def test_the_command_draws_a_labelled_collection(place):
    told = place.json("portraits", "--num", "5", "--size", "32", "--set", "glasses=1",
                      "age_years=70", "--out", "drawn")  # fmt: skip
    assert told["address"].startswith("portraits://?num=5&seed=0&size_px=32&")
    rows = pq.read_table(place.folder / "drawn/attributes.parquet").to_pylist()
    assert [row["file"] for row in rows] == [f"{i:06d}.png" for i in range(5)]
    assert set(rows[0]) == {"file", "seed", "landmarks", *ATTRIBUTES}
    assert {row["age_years"] for row in rows} == {70} and rows[0]["seed"] == row_seed(0, 0)
    assert np.array(rows[0]["landmarks"]).shape == (68, 2)
    for folder, mode in (("pictures", "RGB"), ("segmentations", "P")):
        with Image.open(place.folder / "drawn" / folder / "000004.png") as picture:
            assert (picture.size, picture.mode) == ((32, 32), mode)
            assert folder == "pictures" or np.asarray(picture).max() < len(SEGMENTS)
    with Image.open(told["sheet"]) as sheet:
        assert sheet.width > 128


def test_the_commands_pictures_are_those_of_the_address(place):
    told = place.json("portraits", "--num", "2", "--size", "32", "--seed", "3", "--out", "drawn")
    from resources.sources import ImageSource

    source = ImageSource(uri=told["address"])
    files = sorted((place.folder / "drawn/pictures").iterdir())
    assert [source.read(e.uri) for e in source.entries()] == [f.read_bytes() for f in files]
    picture = render(draw(row_seed(3, 1)), 32).picture
    assert np.array_equal(np.asarray(Image.open(files[1])), picture)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "glases=1"], "did you mean 'glasses'?"),
        (["--set", "glasses|mal=1"], "did you mean male"),
        (["--set", "glasses"], "write glasses=1"),
        (["--size", "3"], "expected size_px from 16 to 2048 px, got 3"),
        (["--num", "0"], "expected num from 1"),
        (["--ood", "2"], "expected ood from 0 to 1"),
    ],
)
def test_impossible_portraits_are_refused_before_anything_is_drawn(place, options, expected):
    code, _, errors = place.invertory("portraits", *options)
    assert code == 2 and expected in errors
    assert not (place.folder / "portraits").exists()


def test_a_folder_of_something_else_is_left_alone(place):
    (place.folder / "mine").mkdir()
    (place.folder / "mine/letter.txt").write_text("dear")
    code, _, errors = place.invertory("portraits", "--num", "1", "--out", "mine")
    assert code == 2 and "expected an empty folder" in errors
    assert [path.name for path in (place.folder / "mine").iterdir()] == ["letter.txt"]
