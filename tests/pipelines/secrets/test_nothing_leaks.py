"""A chain with secrets in every place that takes an address: none is written, none is printed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from invertory.pipelines.cli.running import derive_recipe
from invertory.pipelines.recipe.recipe import load_recipe
from invertory.resources.models import ModelStore

BUNDLED = Path(__file__).parents[3] / "resources/bundled"
LITERAL = "plain0text1secret"


@pytest.fixture
def secrets(guarded) -> list[str]:
    found = [guarded.password, guarded.signature, guarded.basic, LITERAL]
    return [*found, quote(guarded.password, safe="")]


@pytest.fixture
def secret_recipe(guarded, place, draw_pictures, whole_recipe, classifier, monkeypatch):
    """The parts of a recipe whose every address needs a secret, and the server that knows them."""
    monkeypatch.setenv("PASSWORD", guarded.password)
    monkeypatch.setenv("SIGNATURE", guarded.signature)
    monkeypatch.setenv("LOGIN", f"{guarded.user}:{quote(guarded.password, safe='')}")
    monkeypatch.setenv("SIGNED", f"http://{guarded.host}/signed")
    served = guarded.folder
    for folder in ("photos", "signed"):
        (served / folder).mkdir()
    pictures = draw_pictures(served / "photos", 6)
    with tarfile.open(served / "signed/more.tar", "w") as tar:
        for path in draw_pictures(place.folder / "packed", 3, 6):
            tar.add(path, path.name)
    lines = [f"{path.name},{i % 2}" for i, path in enumerate(pictures)]
    lines += [f"{i:03d}.png,1" for i in (6, 7, 8)]
    (served / "labels.csv").write_text("\n".join(["file,old", *lines]))
    shutil.copy(classifier, served / "signed/mean.onnx")
    for name in ("portraits_generator", "portraits_classifier", "portraits_conventional_encoder"):
        for suffix in (".safetensors", ".json"):
            shutil.copy(BUNDLED / f"{name}{suffix}", served / f"{name}{suffix}")
    np.save(served / "direction.npy", np.ones(_w_dim(), np.float32))
    return _recipe(whole_recipe(), guarded, served / "signed/mean.onnx")


def _w_dim() -> int:
    card = json.loads((BUNDLED / "portraits_generator.json").read_text())
    return int(card["architecture"]["config"]["w_dim"])


def _recipe(recipe: dict[str, Any], guarded: Any, onnx: Path) -> dict[str, Any]:
    host, user = guarded.host, f"http://{guarded.user}:${{PASSWORD}}@{guarded.host}"
    red = {**recipe["attributes"]["red"], "uri": "${SIGNED}/mean.onnx?token=${SIGNATURE}"}
    red["sha256"] = hashlib.sha256(onnx.read_bytes()).hexdigest()
    labels = {"scorer": "labels", "uri": f"http://${{LOGIN}}@{host}/labels.csv?key={LITERAL}"}
    weights = {"weights": f"{user}/portraits_classifier.safetensors"}
    later = {"boundaries": {"red": {"import": f"{user}/direction.npy"}},
             "edits": [{"attribute": "red", "steps": [1.0]}]}  # fmt: skip
    return recipe | later | {
        "collection": {
            "uri": [
                f"{user}/photos/*.png",
                f"http://{host}/signed/more.tar?X-Amz-Signature={guarded.signature}",
            ],
            "shard_size": 40,
        },
        "alignment": {"kind": "centre", "size_px": 64},
        "generator": {"name": "stylegan2", "weights": f"{user}/portraits_generator.safetensors"},
        "methods": {
            "projector": {"steps": 2, "w_samples": 16},
            "conventional_encoder": {
                "encoder": f"{user}/portraits_conventional_encoder.safetensors"
            },
        },
        "attributes": {
            "red": red,
            "green": {**red, "output": 1},
            "old": labels,
            "glasses": {"scorer": "classifier", **weights},
        },
        "augmentation": None,
        "checks": {"min_psnr_db": 0.0},
        "resources": {"device": "cpu", "retries": 0},
    }  # fmt: skip


def _everything(place: Any, caplog: Any, *commands: list[str]) -> tuple[list[int], str]:
    """(exit codes, all that the commands printed and logged)."""
    codes, texts = [], []
    with caplog.at_level(logging.DEBUG):
        for command in commands:
            code, out, errors = place.invertory(*command)
            codes.append(code)
            texts += [out, errors]
    return codes, "\n".join([*texts, caplog.text])


def test_a_whole_chain_writes_and_prints_no_secret(
    place, secret_recipe, secrets, files_with, caplog, guarded
):
    place.write(secret_recipe)
    login = f"{guarded.user}:{quote(guarded.password, safe='')}"
    weights = f"http://{login}@{guarded.host}/direction.npy"
    codes, printed = _everything(
        place, caplog,
        ["run", "toy.yaml"], ["run", "toy.yaml", "--json"], ["status", "toy.yaml", "--json"],
        ["trace", "000.png", "--recipe", "toy.yaml", "--json"],
        ["trace", "007.png", "--recipe", "toy.yaml"], ["gallery", "toy.yaml"],
        ["recipes", "check", "toy.yaml"], ["models", "import", weights, "--json"],
    )  # fmt: skip
    assert codes == [0] * len(codes), printed[-2000:]
    assert sorted(place.column("images", "uri")) == [
        *(f"http://{guarded.host}/photos/{i:03d}.png" for i in range(6)),
        *(f"http://{guarded.host}/signed/more.tar::{i:03d}.png" for i in (6, 7, 8)),
    ]
    assert set(place.column("images", "status")) == {"ok"}
    assert place.num_rejects("attributes") == 0
    assert [secret for secret in secrets if secret in printed] == []
    (place.folder / "toy.yaml").unlink()  # the user's own
    assert files_with(place.folder, secrets) == {}


def test_a_rotated_password_and_a_new_signature_change_nothing(
    place, secret_recipe, guarded, monkeypatch
):
    place.write(secret_recipe)
    assert place.run()["failures"] == []
    old, guarded.password, guarded.signature = guarded.signature, "another-word", "fe0123456789"
    monkeypatch.setenv("PASSWORD", guarded.password)
    monkeypatch.setenv("LOGIN", f"{guarded.user}:{guarded.password}")
    monkeypatch.setenv("SIGNATURE", guarded.signature)
    text = (place.folder / "toy.yaml").read_text().replace(old, guarded.signature)
    (place.folder / "toy.yaml").write_text(text)
    told = place.run()
    assert told["is_up_to_date"] and told["new_shards"] == []


@pytest.mark.parametrize("fault", ["password", "missing", "down"])
def test_failures_print_and_write_no_secret(
    fault, place, secret_recipe, secrets, files_with, caplog, guarded, monkeypatch
):
    place.write(secret_recipe)
    if fault == "password":
        monkeypatch.setenv("PASSWORD", "wrong-" + guarded.password)
        secrets.append("wrong-" + guarded.password)
    elif fault == "missing":
        (guarded.folder / "signed/more.tar").unlink()
    else:
        text = (place.folder / "toy.yaml").read_text().replace(guarded.host, "127.0.0.1:9")
        (place.folder / "toy.yaml").write_text(text)
    codes, printed = _everything(
        place, caplog, ["run", "toy.yaml", "--debug"], ["run", "toy.yaml", "--json"]
    )
    assert 0 not in codes and "invertory: " in printed
    assert [secret for secret in secrets if secret in printed] == []
    (place.folder / "toy.yaml").unlink()
    assert files_with(place.folder, secrets) == {}


def test_images_that_vanish_after_the_listing_fail_without_a_secret(
    place, secret_recipe, secrets, files_with, caplog, guarded
):
    later = dict.fromkeys(["attributes", "boundaries", "edits", "augmentation"])
    recipe = {name: part for name, part in secret_recipe.items() if name not in later}
    recipe["generator"] = {"name": "toy", "options": {"resolution": 64, "frequencies": 2}}
    recipe["methods"] = {"projector": {"steps": 2, "w_samples": 16}}
    place.write(recipe)
    place.run()
    shutil.rmtree(guarded.folder / "photos")
    shutil.rmtree(place.folder / "store/toy/images")
    shutil.rmtree(place.folder / "store/toy/aligned")
    _, printed = _everything(place, caplog, ["run", "toy.yaml", "--debug"], ["gallery", "toy.yaml"])
    assert "toy__" in printed
    assert [secret for secret in secrets if secret in printed] == []
    (place.folder / "toy.yaml").unlink()
    assert files_with(place.folder, secrets) == {}


def test_a_derived_recipe_keeps_variables_and_no_credentials(place, secret_recipe, guarded):
    place.write(secret_recipe)
    literal = f"http://{guarded.user}:{LITERAL}@{guarded.host}/photos/"
    made = derive_recipe(load_recipe(place.folder / "toy.yaml", ModelStore()), literal)
    (path,) = (place.folder / "dagster/recipes").glob("*.yaml")
    text = path.read_text()
    assert LITERAL not in text and guarded.password not in text and "${PASSWORD}" in text
    assert path.stat().st_mode & 0o077 == 0
    assert load_recipe(path, ModelStore()).name == made.name
    rotated = literal.replace(LITERAL, "other")
    assert derive_recipe(load_recipe(place.folder / "toy.yaml", ModelStore()), rotated) == made


@pytest.mark.parametrize("root", ["memory://me:{}@host/store", "s3://me:{}@bucket/store"])
def test_credentials_of_the_store_are_neither_printed_nor_written(
    root, place, whole_recipe, draw_pictures, files_with, caplog, monkeypatch
):
    monkeypatch.setenv("INVERTORY_STORE", root.format(LITERAL))
    draw_pictures(place.folder / "pictures", 2)
    later = dict.fromkeys(["attributes", "boundaries", "edits", "augmentation", "export"])
    recipe = {name: part for name, part in whole_recipe().items() if name not in later}
    place.write(recipe | {"checks": {"min_psnr_db": 0.0}, "resources": {"retries": 0}})
    codes, printed = _everything(
        place, caplog, ["run", "toy.yaml", "--debug"], ["status", "toy.yaml", "--json"]
    )
    assert codes == ([0, 0] if root.startswith("memory") else [1, 1])
    assert LITERAL not in printed
    assert files_with(place.folder, [LITERAL]) == {}
