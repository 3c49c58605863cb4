"""`invertory run`, `demo`, `status`, `trace`, `gallery`: run recipes and inspect the results."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.named_recipes import model_store, recipe_named, recipes_named, store_of
from invertory.pipelines.cli.output import add_command, make_progress, print_error, print_result
from invertory.pipelines.errors.exit_codes import FAILED, OK

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.roots import Roots

DEMOS = ("portraits", "faces")  # recipes; the first is the default


def add_commands(commands: Any) -> None:
    """Add the commands with their options."""
    run = add_command(commands, "run", _run, "compute what is missing or stale in a recipe")
    run.add_argument("recipe", help="a recipe file, or the name of a recipe in recipes/")
    run.add_argument("--collection", help="read images from here instead of the recipe's URI")

    demo = add_command(commands, "demo", _demo, "run a complete recipe, from images to edits")
    demo.add_argument("recipe", nargs="?", choices=DEMOS, help="rendered portraits, or photographs")
    demo.add_argument("--collection", help="a folder with your own photographs; for faces")

    status = add_command(commands, "status", _status, "show rows, rejects and stale tables")
    status.add_argument("recipe", nargs="?", help="default: every recipe")

    trace = add_command(
        commands, "trace", _trace, "show everything derived from an image, and its origin"
    )
    trace.add_argument("id", help="image, crop, edit or sample id, URI or file name")
    trace.add_argument("--recipe", help="default: the first recipe that contains the image")

    gallery = add_command(
        commands, "gallery", _gallery, "write one HTML page, from original to edit, with scores"
    )
    gallery.add_argument("recipe")
    gallery.add_argument("--out", type=Path, help="default: <store>/<recipe>/gallery.html")
    gallery.add_argument("--rows", type=int, default=48, help="maximum number of crops (48)")


def _run(options: argparse.Namespace) -> int:
    return _run_and_report(recipe_named(options.recipe, options.collection), options)


def _demo(options: argparse.Namespace) -> int:
    """Run portraits by default; a collection of one's own photographs uses the recipe of faces."""
    name = options.recipe or (DEMOS[1] if options.collection else DEMOS[0])
    recipe = recipe_named(name, options.collection)
    code = _run_and_report(recipe, options)
    if code == OK and not options.json:
        from invertory.pipelines.reports.console import next_steps

        next_steps(recipe, store_of(recipe), model_store())
    return code


def _run_and_report(recipe: Recipe, options: argparse.Namespace) -> int:
    from invertory.pipelines.cli.running import run_recipe
    from invertory.pipelines.progress.reporting import FixedReporting
    from invertory.pipelines.reports.console import print_report
    from invertory.pipelines.reports.status import report_json

    progress = make_progress(options)
    report = run_recipe(recipe, FixedReporting(progress), progress)
    code = FAILED if report.failures else OK
    world = store_of(recipe), model_store()
    if options.json:
        return print_result(options, report_json(recipe, *world, report), print, code)
    print_report(recipe, *world, report)
    for failure in report.failures:
        print_error(f"failed {failure}", code)
    return code


def _status(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_status
    from invertory.pipelines.reports.status import status_json

    models = model_store()
    statuses = [status_json(r, store_of(r), models) for r in recipes_named(options.recipe)]
    return print_result(options, statuses, print_status)


def _trace(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_trace
    from invertory.pipelines.tables.registry import chain_of
    from invertory.pipelines.tables.trace import NotFoundError, trace
    from invertory.resources.roots import Roots

    missing: list[str] = []
    for recipe in recipes_named(options.recipe):
        try:
            roots = Roots(recipe.collection.uris)
            chain_trace = trace(
                chain_of(recipe, model_store()),
                store_of(recipe),
                options.id,
                partial(_opened, roots),
            )
        except NotFoundError as error:
            missing.append(f"{recipe.name}: {error.args[0]}")
            continue
        return print_result(options, chain_trace, print_trace)
    raise NotFoundError(
        "\n".join(missing) or "expected a recipe, got none; see `invertory recipes list`"
    )


def _opened(roots: Roots, uri: str) -> str:
    from invertory.resources.entries import decode

    return roots.opened(decode(uri))


def _gallery(options: argparse.Namespace) -> int:
    from invertory.pipelines.gallery.from_tables import write_recipe_gallery

    recipe = recipe_named(options.recipe)
    path = write_recipe_gallery(
        recipe, store_of(recipe), model_store(), options.out, max_rows=options.rows
    )
    return print_result(options, {"gallery": str(path)}, lambda _: print(path))
