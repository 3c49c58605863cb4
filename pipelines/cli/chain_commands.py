"""`invertory run`, `demo`, `status`, `trace`, `gallery`: recipes at work, and what came of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.answers import add_command, answer, complain, progress_of
from invertory.pipelines.cli.named_recipes import model_store, recipe_named, recipes_named, store_of
from invertory.pipelines.errors.exit_codes import FAILED, OK

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe

DEMOS = ("portraits", "faces")  # recipes; the first is the default


def add_commands(commands: Any) -> None:
    """The commands with their options."""
    run = add_command(commands, "run", _run, "compute what is missing or stale in a recipe")
    run.add_argument("recipe", help="a recipe's file or the name of one in recipes/")
    run.add_argument("--collection", help="read pictures from here instead of the recipe's URI")

    demo = add_command(commands, "demo", _demo, "a whole recipe, from pictures to an edit set")
    demo.add_argument("recipe", nargs="?", choices=DEMOS, help="drawn portraits, or photographs")
    demo.add_argument("--collection", help="a folder of photographs of your own; for faces")

    status = add_command(commands, "status", _status, "rows, rejects and what is stale, by table")
    status.add_argument("recipe", nargs="?", help="default: every recipe")

    trace = add_command(commands, "trace", _trace, "one picture's whole chain, back and forth")
    trace.add_argument("id", help="image, crop, edit or sample id, URI or file name")
    trace.add_argument("--recipe", help="default: the first recipe that knows the picture")

    gallery = add_command(commands, "gallery", _gallery, "one HTML page: original to edit, scored")
    gallery.add_argument("recipe")
    gallery.add_argument("--out", type=Path, help="default: <store>/<recipe>/gallery.html")
    gallery.add_argument("--rows", type=int, default=48, help="crops at most (48)")


def _run(options: argparse.Namespace) -> int:
    return _run_and_tell(recipe_named(options.recipe, options.collection), options)


def _demo(options: argparse.Namespace) -> int:
    """Portraits where nothing is said; photographs of one's own go through the recipe of faces."""
    name = options.recipe or (DEMOS[1] if options.collection else DEMOS[0])
    recipe = recipe_named(name, options.collection)
    code = _run_and_tell(recipe, options)
    if code == OK and not options.json:
        from invertory.pipelines.reports.summary import next_steps

        next_steps(recipe, store_of(recipe), model_store())
    return code


def _run_and_tell(recipe: Recipe, options: argparse.Namespace) -> int:
    from invertory.pipelines.cli.running import run_recipe
    from invertory.pipelines.progress.reporting import Fixed
    from invertory.pipelines.reports.summary import report_json, tell_report

    progress = progress_of(options)
    report = run_recipe(recipe, Fixed(progress), progress)
    code = FAILED if report.failures else OK
    world = store_of(recipe), model_store()
    if options.json:
        return answer(options, report_json(recipe, *world, report), print, code)
    tell_report(recipe, *world, report)
    for failure in report.failures:
        complain(f"failed {failure}", code)
    return code


def _status(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.summary import status_json, tell_status

    models = model_store()
    found = [status_json(r, store_of(r), models) for r in recipes_named(options.recipe)]
    return answer(options, found, tell_status)


def _trace(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.summary import tell_trace
    from invertory.pipelines.tables.registry import chain_of
    from invertory.pipelines.tables.trace import NotFoundError, trace
    from invertory.resources.entries import decode
    from invertory.resources.roots import Roots

    missing: list[str] = []
    for recipe in recipes_named(options.recipe):
        try:
            roots = Roots(recipe.collection.uris)
            found = trace(
                chain_of(recipe, model_store()),
                store_of(recipe),
                options.id,
                lambda uri, roots=roots: roots.opened(decode(uri)),  # type: ignore[misc]
            )
        except NotFoundError as error:
            missing.append(f"{recipe.name}: {error.args[0]}")
            continue
        return answer(options, found, tell_trace)
    raise NotFoundError("\n".join(missing) or "there is no recipe; see `invertory recipes list`")


def _gallery(options: argparse.Namespace) -> int:
    from invertory.pipelines.gallery.from_tables import show

    recipe = recipe_named(options.recipe)
    path = show(recipe, store_of(recipe), model_store(), options.out, max_rows=options.rows)
    return answer(options, {"gallery": str(path)}, lambda _: print(path))
