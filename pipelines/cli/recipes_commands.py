"""`invertory recipes`: list them, validate them, write a new one."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.answers import add_command, answer, complain
from invertory.pipelines.cli.named_recipes import (
    model_store,
    path_of,
    recipes_folder,
    recipes_named,
)
from invertory.pipelines.errors.exit_codes import OK, USAGE
from invertory.resources.addresses import Address

if TYPE_CHECKING:
    from pathlib import Path

    from invertory.pipelines.recipe.recipe import Recipe, RecipeError


def add_commands(commands: Any) -> None:
    """`invertory recipes list`, `check` and `new`."""
    recipes = commands.add_parser("recipes", help="recipes: list, check, new")
    kinds = recipes.add_subparsers(required=True, metavar="ACTION")
    add_command(kinds, "list", _list, "the recipes and what they make")
    check = add_command(kinds, "check", _check, "validate without running anything")
    check.add_argument("recipe", nargs="*", help="default: every recipe")
    new = add_command(kinds, "new", _new, "write the commented template")
    new.add_argument("name")
    new.add_argument("--collection", help="where the pictures lie")


def _list(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.summary import tell_recipes

    return answer(options, [recipe.as_row() for recipe in recipes_named(None)], tell_recipes)


def _check(options: argparse.Namespace) -> int:
    from invertory.pipelines.recipe.recipe import RecipeError, all_recipes

    found = [(path_of(name), _loaded(path_of(name))) for name in options.recipe]
    if not options.recipe:
        found = list(all_recipes(recipes_folder(), models=model_store()))
    wrong = [(path, error) for path, error in found if isinstance(error, RecipeError)]

    def tell(_: object) -> None:
        for _path, problems in wrong:
            print(problems, file=sys.stderr)
        print(f"{len(found) - len(wrong)} of {len(found)} recipes are valid")

    problems = [{"path": str(path), "problems": str(e).splitlines()} for path, e in wrong]
    return answer(options, problems, tell, USAGE if wrong else OK)


def _loaded(path: Path) -> Recipe | RecipeError:
    from invertory.pipelines.recipe.recipe import RecipeError, load_recipe

    try:
        return load_recipe(path, model_store())
    except RecipeError as problem:
        return problem


def _new(options: argparse.Namespace) -> int:
    from invertory.pipelines.recipe.recipe import template

    if options.collection and Address(options.collection).kept != options.collection:
        return complain(
            f"expected an address without credentials, got one with them ({options.collection}); "
            "write ${NAME} in their place, as in https://${USER}:${PASSWORD}@host/photos, and set "
            "the variables in the environment",
            USAGE,
        )
    path = recipes_folder() / f"{options.name}.yaml"
    if path.exists():
        return complain(f"{path} exists; choose another name or edit it", USAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = template().replace("name: your_images", f"name: {options.name}", 1)
    if options.collection:
        text = re.sub(r"^  uri: .*$", f"  uri: {options.collection}", text, count=1, flags=re.M)
    path.write_text(text)
    return answer(options, {"recipe": str(path)}, lambda _: print(path))
