"""`invertory recipes`: list recipes, validate them, write a new one."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.named_recipes import (
    model_store,
    path_of,
    recipes_folder,
    recipes_named,
)
from invertory.pipelines.cli.output import add_command, print_error, print_result
from invertory.pipelines.errors.exit_codes import OK, USAGE
from invertory.resources.addresses import Address

if TYPE_CHECKING:
    from pathlib import Path

    from invertory.pipelines.recipe.recipe import Recipe, RecipeError


def add_commands(commands: Any) -> None:
    """Add `invertory recipes list`, `check` and `new`."""
    recipes = commands.add_parser("recipes", help="recipes: list, check, new")
    kinds = recipes.add_subparsers(required=True, metavar="ACTION")
    add_command(kinds, "list", _list, "list the recipes and their outputs")
    check = add_command(kinds, "check", _check, "validate recipes without running them")
    check.add_argument("recipe", nargs="*", help="default: every recipe")
    new = add_command(kinds, "new", _new, "write a new recipe from the commented template")
    new.add_argument("name")
    new.add_argument("--collection", help="address of the images")


def _list(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_recipes

    return print_result(options, [recipe.as_row() for recipe in recipes_named(None)], print_recipes)


def _check(options: argparse.Namespace) -> int:
    from invertory.pipelines.recipe.recipe import RecipeError, all_recipes

    loaded = [(path_of(name), _load(path_of(name))) for name in options.recipe]
    if not options.recipe:
        loaded = list(all_recipes(recipes_folder(), models=model_store()))
    invalid = [(path, error) for path, error in loaded if isinstance(error, RecipeError)]

    def print_check(_: object) -> None:
        for _path, problems in invalid:
            print(problems, file=sys.stderr)
        print(f"valid recipes: {len(loaded) - len(invalid)} of {len(loaded)}")

    problems = [{"path": str(path), "problems": str(e).splitlines()} for path, e in invalid]
    return print_result(options, problems, print_check, USAGE if invalid else OK)


def _load(path: Path) -> Recipe | RecipeError:
    from invertory.pipelines.recipe.recipe import RecipeError, load_recipe

    try:
        return load_recipe(path, model_store())
    except RecipeError as problem:
        return problem


def _new(options: argparse.Namespace) -> int:
    from invertory.pipelines.recipe.recipe import template

    if options.collection and Address(options.collection).kept != options.collection:
        return print_error(
            f"expected an address without credentials, got {options.collection}; "
            "write ${NAME} instead, as in https://${USER}:${PASSWORD}@host/photos, and set "
            "the variables in the environment",
            USAGE,
        )
    path = recipes_folder() / f"{options.name}.yaml"
    if path.exists():
        return print_error(
            f"expected a new recipe name, got {path}, which exists; choose another name or edit it",
            USAGE,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = template().replace("name: your_images", f"name: {options.name}", 1)
    if options.collection:
        text = re.sub(r"^  uri: .*$", f"  uri: {options.collection}", text, count=1, flags=re.M)
    path.write_text(text)
    return print_result(options, {"recipe": str(path)}, lambda _: print(path))
