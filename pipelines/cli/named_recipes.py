"""The recipes that a command names: found by file or name, with their stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


def recipe_named(name: str, collection: str | None = None) -> Recipe:
    """The recipe; with `collection`, one made from it for those pictures."""
    from invertory.pipelines.cli.running import derived
    from invertory.pipelines.recipe.recipe import load_recipe

    recipe = load_recipe(path_of(name), model_store())
    return derived(recipe, collection) if collection else recipe


def recipes_named(name: str | None) -> list[Recipe]:
    """One recipe, or every valid one."""
    from invertory.pipelines.definitions import every_recipe
    from invertory.pipelines.recipe.recipe import RecipeError

    if name:
        return [recipe_named(name)]
    return [found for _, found in every_recipe(model_store()) if not isinstance(found, RecipeError)]


def recipes_folder() -> Path:
    """Where new recipes are written."""
    from invertory.pipelines.definitions import recipe_folders

    return recipe_folders()[0]


def path_of(name: str) -> Path:
    """A file as it is, or the name of one in the folders of recipes."""
    from invertory.pipelines.definitions import recipe_folders

    if name.endswith((".yaml", ".yml")):
        return Path(name)
    paths = [folder / f"{name}.yaml" for folder in recipe_folders()]
    return next((path for path in paths if path.is_file()), paths[0])


def store_of(recipe: Recipe) -> Store:
    """Its tables."""
    from invertory.pipelines.world import tables

    return tables().store(recipe.name)


def model_store() -> ModelStore:
    """The weights of this host."""
    from invertory.pipelines import world

    return world.model_store()
