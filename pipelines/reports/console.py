"""What the command line prints: a run, the status of tables, the trace of an image, networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from invertory.pipelines.reports.status import status_json
from invertory.pipelines.tables.stage import ALL

if TYPE_CHECKING:
    from invertory.pipelines.cli.running import Report
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

MAX_TRACED = 12  # rows of a table that `trace` prints; --json has them all


def print_report(recipe: Recipe, store: Store, models: ModelStore, report: Report) -> None:
    """After a run: what was computed, what failed, and the tables as they are."""
    console = Console()
    for found in report.corrupt:
        console.print(f"[yellow]computed again[/] {escape(found)}")
    if report.failures:
        console.print(
            f"[red]Failed:[/] {len(report.failures)} of {recipe.name}'s tables; finished tables "
            "are kept, and the same command continues from there."
        )
    elif report.is_up_to_date:
        console.print(
            f"[green]Up to date:[/] {recipe.name} has nothing new and nothing stale "
            f"({report.elapsed_s:.1f} s)."
        )
    else:
        console.print(
            f"[green]Done:[/] {report.num_computed} tables of {recipe.name} in "
            f"{report.elapsed_s:.0f} s."
        )
    status = status_json(recipe, store, models)
    if number := sum(table["num_retried"] for table in status["tables"]):
        console.print(
            f"[yellow]{number} files could not be read[/] (denied or unavailable); "
            "the next run tries them again."
        )
    print_status([status], console)


def print_status(found: list[dict[str, Any]], console: Console | None = None) -> None:
    """The tables of each recipe with rows, rejects by reason and what is stale."""
    console = console or Console()
    for status in found:
        name = status["recipe"]
        console.print()
        console.print(f"[bold]{name}[/]  {status['files']} files  {status['store']}")
        if not status["files"]:
            console.print(f"  nothing yet; `invertory run {name}` starts it")
            continue
        console.print(_status_table(status))
        for path in status["corrupt"]:
            console.print(f"[red]corrupt or lost[/] {escape(path)}")
        if status["corrupt"]:
            console.print(
                f"`invertory verify {name} --repair`, then `invertory run {name}`, computes them "
                "again",
                markup=False,
            )


def _status_table(status: dict[str, Any]) -> Table:
    lines = Table(box=None, pad_edge=False, header_style="dim")
    lines.add_column("table")
    lines.add_column("rows", justify="right")
    lines.add_column("shards", justify="right")
    lines.add_column("rejects")
    lines.add_column("state")
    for table in status["tables"]:
        reasons = table["rejects"]
        if table["table"] == "images":
            reasons = {k: v for k, v in status["files_by_status"].items() if k != "ok"}
        lines.add_row(
            table["table"],
            str(table["num_rows"]),
            str(table["num_shards"]),
            ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items())),
            _state(table),
        )
    return lines


def _state(table: dict[str, Any]) -> str:
    state = "[yellow]stale[/]" if table["num_pending"] else "[green]current[/]"
    number = table["num_retried"]
    return f"{state}, the next run reads {number} again" if number else state


def next_steps(recipe: Recipe, store: Store, models: ModelStore) -> None:
    """After the demo: the exported set, the gallery, and how to go on."""
    from invertory.pipelines.gallery.from_tables import write_recipe_gallery
    from invertory.pipelines.tables.export_set import set_folder

    console = Console()
    console.print()
    console.print(f"gallery   {write_recipe_gallery(recipe, store, models)}")
    if recipe.augmentation:
        console.print(f"export    {set_folder(store, recipe.augmentation.method)}")
    console.print(f"tables    {store.base}  (any Parquet reader opens them)")
    console.print("the UI    make ui")
    console.print(f"one image invertory trace {_any_image(store) or '<file name>'}")
    console.print("your own  make demo COLLECTION=<folder>, or invertory recipes new <name>")


def print_trace(found: dict[str, Any]) -> None:
    """The chain of one image as a tree: tables, what made them, and their rows."""
    tree = Tree(f"[bold]{escape(found['wanted'])}[/]  recipe {found['recipe']}, {found['shard']}")
    for name, table in found["tables"].items():
        branch = tree.add(f"[bold]{name}[/]  [dim]{escape(_made_by(table))}[/]")
        for row in table["rows"][:MAX_TRACED]:
            branch.add(escape(_line(row)))
        if len(table["rows"]) > MAX_TRACED:
            branch.add(f"[dim]and {len(table['rows']) - MAX_TRACED} more; --json has them[/]")
        for row in table.get("rejects", []):
            branch.add(
                f"[yellow]{row['status']}[/] {escape(row['row_id'])}: {escape(row['error'])}"
            )
    Console().print(tree)


def print_models(cards: list[dict[str, Any]]) -> None:
    """Networks that a recipe can name."""
    lines = Table(box=None, pad_edge=False, header_style="dim")
    lines.add_column("name", no_wrap=True)
    lines.add_column("kind", no_wrap=True)
    lines.add_column("at hand", no_wrap=True)
    lines.add_column("licence", overflow="ellipsis", no_wrap=True)
    for card in cards:
        at_hand = "yes" if card["is_at_hand"] else "-"
        lines.add_row(card["name"], card["kind"], at_hand, card["licence"])
    Console().print(lines)
    Console().print("[dim]`invertory models show NAME` has source, digest and the whole licence[/]")


def print_card(card: dict[str, Any]) -> None:
    """One network's card."""
    lines = Table(box=None, show_header=False, pad_edge=False)
    for name, value in card.items():
        lines.add_row(f"[dim]{name}[/]", escape(str(value)))
    Console().print(lines)


def print_recipes(found: list[dict[str, Any]]) -> None:
    """The recipes and what they make."""
    lines = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("recipe", "generator", "methods", "collection", "description"):
        lines.add_column(name, overflow="fold")
    for row in found:
        lines.add_row(row["recipe"], row["generator"], ", ".join(row["methods"]),
                     ", ".join(row["collection"]), row["description"])  # fmt: skip
    Console().print(lines)


def _any_image(store: Store) -> str | None:
    for batch in store.read_all("aligned", ["image_id"]):
        for image_id in batch.column("image_id").to_pylist():
            return str(image_id)[:12]
    return None


def _made_by(table: dict[str, Any]) -> str:
    networks = ", ".join(f"{name} {sha[:8]}" for name, sha in (table.get("models") or {}).items())
    run = f"run {table['run_id'][:8]}" if table.get("run_id") else ""
    where = "" if table["shard"] == ALL else table["shard"]
    return "  ".join(text for text in (where, run, networks) if text)


def _line(row: dict[str, Any]) -> str:
    cells = {name: value for name, value in row.items() if name != "image_id"}
    return "  ".join(f"{name}={_cell(v)}" for name, v in cells.items() if v is not None)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_cell, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
