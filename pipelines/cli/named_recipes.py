"""Load the recipes that a command names, by file or name, and open their stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


def recipe_named(name: str, collection: str | None = None) -> Recipe:
    """Load a recipe; with `collection`, derive one for those images."""
    from invertory.pipelines.cli.running import derive_recipe
    from invertory.pipelines.recipe.recipe import load_recipe

    recipe = load_recipe(path_of(name), model_store())
    return derive_recipe(recipe, collection) if collection else recipe


def recipes_named(name: str | None) -> list[Recipe]:
    """Load one recipe, or every valid one."""
    from invertory.pipelines.definitions import every_recipe
    from invertory.pipelines.recipe.recipe import RecipeError

    if name:
        return [recipe_named(name)]
    found = every_recipe(model_store())
    return [recipe for _, recipe in found if not isinstance(recipe, RecipeError)]


def recipes_folder() -> Path:
    """Return the folder for new recipes."""
    from invertory.pipelines.definitions import recipe_folders

    return recipe_folders()[0]


def path_of(name: str) -> Path:
    """Return the path of a recipe file, or of a name in the recipe folders."""
    from invertory.pipelines.definitions import recipe_folders

    if name.endswith((".yaml", ".yml")):
        return Path(name)
    paths = [folder / f"{name}.yaml" for folder in recipe_folders()]
    return next((path for path in paths if path.is_file()), paths[0])


def store_of(recipe: Recipe) -> Store:
    """Open the store of a recipe."""
    from invertory.pipelines.world import tables

    return tables().store(recipe.name)


def model_store() -> ModelStore:
    """The weights of this host."""
    from invertory.pipelines import world

    return world.model_store()
