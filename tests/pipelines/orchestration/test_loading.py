"""The code location loads fast: no network library is imported, and every file is parsed once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from invertory.pipelines.recipe.recipe import RECIPES
from invertory.pipelines.training.training import TRAININGS

HEAVY = ("torch", "torchvision", "lpips", "mediapipe", "sklearn", "cv2", "onnxruntime", "pandas")
LOADING = """
import json, sys, yaml
compose, reads = yaml.compose, []
def counting(text, *args, **options):
    reads.append(text)
    return compose(text, *args, **options)
yaml.compose = counting
from invertory.pipelines.definitions import defs
definitions = defs()
keys = [key.to_user_string() for key in definitions.resolve_all_asset_keys()]
print(json.dumps({"modules": sorted(sys.modules), "reads": len(reads), "keys": keys}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that loads the code location has read and imported."""
    home = tmp_path_factory.mktemp("home")
    hidden = {"INVERTORY_RECIPES", "INVERTORY_TRAININGS"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", LOADING],
        env={**environment, "DAGSTER_HOME": str(home), "INVERTORY_CACHE": str(home / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_network_library_is_imported(loaded: dict[str, Any]) -> None:
    assert not set(HEAVY) & set(loaded["modules"])


def test_every_recipe_and_training_is_parsed_once(loaded: dict[str, Any]) -> None:
    files = [*Path(RECIPES).glob("*.yaml"), *Path(TRAININGS).glob("*.yaml")]
    assert loaded["reads"] == len(files)


def test_every_recipe_and_training_is_served(loaded: dict[str, Any]) -> None:
    groups = {key.split("/")[0] for key in loaded["keys"]}
    assert groups == {path.stem for path in Path(RECIPES).glob("*.yaml")} | {"models"}
