"""`invertory train`: run a training from the command line, or list the trainings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.named_recipes import model_store
from invertory.pipelines.cli.output import add_command, make_progress, print_result

if TYPE_CHECKING:
    from invertory.pipelines.training.runs import Trained
    from invertory.pipelines.training.training import TrainingSpec


def add_commands(commands: Any) -> None:
    """Add `invertory train` with its options."""
    text = "train the networks that a file in trainings/ describes"
    train = add_command(commands, "train", _train, text)
    train.add_argument("training", nargs="?", help="a file, or the name of one in trainings/")
    train.add_argument("--list", action="store_true", help="list the trainings and their outputs")
    train.add_argument(
        "--images", type=int, help="total training images, instead of the file's number"
    )
    train.add_argument("--device", help="auto, cpu, cuda or cuda:1, instead of the file's")
    train.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="KIND=ADDRESS",
        help="replace a network of the file, e.g. generator=bundled://portraits_generator",
    )
    train.add_argument(
        "--folder",
        type=Path,
        help="write everything here, including networks; default: the model store",
    )
    train.add_argument(
        "--bundle",
        action="store_true",
        help="also write the networks and their cards to resources/bundled",
    )


def _train(options: argparse.Namespace) -> int:
    if options.list or not options.training:
        return print_result(options, list_trainings(), print_trainings)
    result = run_requested(options)
    return print_result(options, result.as_json(), lambda _: print_trained(result))


def list_trainings() -> list[dict[str, Any]]:
    """Return one row per training: its outputs, its inputs, and whether it is done."""
    from invertory.pipelines.recipe.errors import RecipeError
    from invertory.pipelines.training.training import all_trainings
    from invertory.resources.cards import has_card
    from invertory.resources.models import BUNDLED

    rows, trained = [], model_store().trained()
    for path, spec in all_trainings(is_thorough=False):
        if isinstance(spec, RecipeError):
            print(f"invertory: {path.name} is skipped: {spec}", file=sys.stderr)
            continue
        names = spec.named.values()
        is_there = {
            "is_trained": all(has_card(trained, name) for name in names),
            "is_bundled": all(has_card(BUNDLED, name) for name in names),
        }
        rows.append(spec.as_row() | is_there)
    return rows


def load_training(options: argparse.Namespace) -> TrainingSpec:
    """Load a training with the command line's changes; RecipeError if they are invalid."""
    from invertory.pipelines.training.training import changed, find_training

    return changed(
        find_training(options.training),
        images=options.images,
        device=options.device,
        uses=dict(_pair(text) for text in options.use),
    )


def run_requested(options: argparse.Namespace) -> Trained:
    """Run a training, and copy its networks into the package if requested."""
    from dataclasses import replace

    from invertory.pipelines.training.cards import bundle
    from invertory.pipelines.training.runs import run_training
    from invertory.pipelines.world import resources

    world = resources()
    done = run_training(
        load_training(options),
        world["models"],
        world["gpu"],
        make_progress(options),
        folder=options.folder,
    )
    if not done.is_up_to_date and options.folder is None:
        _record(done)
    if options.bundle:
        return replace(done, cards=bundle(done.cards, done.networks_folder))
    return done


def _record(done: Trained) -> None:
    """Record a training in the Dagster instance that `invertory ui` shows."""
    from invertory.pipelines.processes.dagster_home import open_instance
    from invertory.pipelines.training.assets import record

    with open_instance() as instance:
        record(done, instance)


def print_trained(result: Trained) -> None:
    """Print the networks of a finished training and their quality."""
    from rich.console import Console
    from rich.table import Table

    from invertory.pipelines.training.cards import headline

    console = Console()
    word = "Up to date" if result.is_up_to_date else "Done"
    console.print(f"[green]{word}:[/] {result.training} in {result.elapsed_s:.0f} s")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, card in result.cards.items():
        table.add_row(name, f"{card['source']}  {card['size_bytes'] / 1e6:.2f} MB {card['dtype']}")
    first = next(iter(result.cards.values()))
    table.add_row("images", str(first["images_seen"]))
    for name, value in headline(first["quality"]).items():
        table.add_row(f"[dim]{name}[/]", f"{value:.4g}")
    if result.sheet:
        table.add_row("sheet", str(result.sheet))
    console.print(table)


def print_trainings(rows: list[dict[str, Any]]) -> None:
    """Print the trainings, their inputs and outputs, and which are done."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        states = [word for word in ("trained", "bundled") if row[f"is_{word}"]]
        table = f"[green]{', '.join(states)}[/]" if states else "[dim]not trained[/]"
        data = f" on {row['data']}" if row["data"] != "none" else ""
        console.print(f"[bold]{row['training']}[/]  {table}")
        console.print(f"  {row['description']}")
        console.print(f"  [dim]{row['trainer']}{data}, {row['images']:,} images[/]")
        for word in ("gives", "uses"):
            if row[word]:
                console.print(f"  [dim]{word} {', '.join(row[word].values())}[/]")


def _pair(text: str) -> tuple[str, str]:
    kind, _, uri = text.partition("=")
    return kind, uri
