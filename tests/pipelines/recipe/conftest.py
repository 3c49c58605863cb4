"""Recipes as text: read, or refused with what is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from invertory.pipelines.recipe.recipe import Recipe, RecipeError, load_recipe
from invertory.resources.models import ModelStore

Load = Callable[[str], Recipe]


@pytest.fixture
def least() -> str:
    return "name: tiny\ncollection: {uri: ./pictures}\nmethods: {projector: }\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, ModelStore())

    return loaded


@pytest.fixture
def complaints(load: Load) -> Callable[[str], list[str]]:
    """Each problem as "line: text"."""

    def told(text: str) -> list[str]:
        with pytest.raises(RecipeError) as raised:
            load(text)
        return [f"{problem.line}: {problem.text}" for problem in raised.value.problems]

    return told
