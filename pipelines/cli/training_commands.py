"""`invertory train`: one training from the command line, or a list of those there are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.answers import add_command, answer, progress_of
from invertory.pipelines.cli.named_recipes import model_store

if TYPE_CHECKING:
    from invertory.pipelines.training.runs import Trained
    from invertory.pipelines.training.training import TrainingSpec


def add_commands(commands: Any) -> None:
    """`invertory train` with its options."""
    text = "train the networks that a file in trainings/ asks"
    train = add_command(commands, "train", _train, text)
    train.add_argument("training", nargs="?", help="a file, or the name of one in trainings/")
    train.add_argument("--list", action="store_true", help="the trainings and what they make")
    train.add_argument("--images", type=int, help="pictures shown in all, for the file's number")
    train.add_argument("--device", help="auto, cpu, cuda or cuda:1, for the file's")
    train.add_argument(
        "--use",
        action="append",
        default=[],
        metavar="KIND=ADDRESS",
        help="another network for the file's, such as generator=bundled://portraits_generator",
    )
    train.add_argument(
        "--folder",
        type=Path,
        help="keep everything here, networks included; default: the model store",
    )
    train.add_argument(
        "--bundle",
        action="store_true",
        help="also write the networks and their cards into resources/bundled",
    )


def _train(options: argparse.Namespace) -> int:
    if options.list or not options.training:
        return answer(options, listed(), tell_trainings)
    found = trained(options)
    return answer(options, found.as_json(), lambda _: tell_trained(found))


def listed() -> list[dict[str, Any]]:
    """A row for each training: what it makes, from what, and what is there of it."""
    from invertory.pipelines.recipe.errors import RecipeError
    from invertory.pipelines.training.training import all_trainings
    from invertory.resources.cards import has_card
    from invertory.resources.models import BUNDLED

    rows, trained = [], model_store().trained()
    for path, found in all_trainings(is_thorough=False):
        if isinstance(found, RecipeError):
            print(f"invertory: {path.name} is left out: {found}", file=sys.stderr)
            continue
        names = found.named.values()
        is_there = {
            "is_trained": all(has_card(trained, name) for name in names),
            "is_bundled": all(has_card(BUNDLED, name) for name in names),
        }
        rows.append(found.as_row() | is_there)
    return rows


def asked(options: argparse.Namespace) -> TrainingSpec:
    """The training with what the command line says otherwise; RecipeError where that is wrong."""
    from invertory.pipelines.training.training import changed, find_training

    return changed(
        find_training(options.training),
        images=options.images,
        device=options.device,
        uses=dict(_pair(text) for text in options.use),
    )


def trained(options: argparse.Namespace) -> Trained:
    """Run it; the networks are in the package too where that was asked for."""
    from dataclasses import replace

    from invertory.pipelines.training.cards import bundle
    from invertory.pipelines.training.runs import run_training
    from invertory.pipelines.world import resources

    world = resources()
    done = run_training(
        asked(options),
        world["models"],
        world["gpu"],
        progress_of(options),
        folder=options.folder,
    )
    if not done.is_up_to_date and options.folder is None:
        _record(done)
    if options.bundle:
        return replace(done, cards=bundle(done.cards, done.networks_folder))
    return done


def _record(done: Trained) -> None:
    """In the instance that `invertory ui` shows."""
    from invertory.pipelines.processes.dagster_home import open_instance
    from invertory.pipelines.training.assets import record

    with open_instance() as instance:
        record(done, instance)


def tell_trained(found: Trained) -> None:
    """After a training: its networks, and how good they are."""
    from rich.console import Console
    from rich.table import Table

    from invertory.pipelines.training.cards import headline

    console = Console()
    word = "Up to date" if found.is_up_to_date else "Done"
    console.print(f"[green]{word}:[/] {found.training} in {found.elapsed_s:.0f} s")
    told = Table(box=None, show_header=False, pad_edge=False)
    for name, card in found.cards.items():
        told.add_row(name, f"{card['source']}  {card['size_bytes'] / 1e6:.2f} MB {card['dtype']}")
    first = next(iter(found.cards.values()))
    told.add_row("images", str(first["images_seen"]))
    for name, value in headline(first["quality"]).items():
        told.add_row(f"[dim]{name}[/]", f"{value:.4g}")
    if found.sheet:
        told.add_row("sheet", str(found.sheet))
    console.print(told)


def tell_trainings(rows: list[dict[str, Any]]) -> None:
    """The trainings, what they make of what, and what is there of it."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        states = [word for word in ("trained", "bundled") if row[f"is_{word}"]]
        told = f"[green]{', '.join(states)}[/]" if states else "[dim]not trained[/]"
        data = f" on {row['data']}" if row["data"] != "none" else ""
        console.print(f"[bold]{row['training']}[/]  {told}")
        console.print(f"  {row['description']}")
        console.print(f"  [dim]{row['trainer']}{data}, {row['images']:,} images[/]")
        for word in ("gives", "uses"):
            if row[word]:
                console.print(f"  [dim]{word} {', '.join(row[word].values())}[/]")


def _pair(text: str) -> tuple[str, str]:
    kind, _, uri = text.partition("=")
    return kind, uri
