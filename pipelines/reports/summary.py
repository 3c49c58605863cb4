"""What the command line tells: what a run made, what is stale, where a picture came from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from invertory.ops.schemas import RETRIED
from invertory.pipelines.tables.chain import Keys
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.tables.stage import ALL
from invertory.resources.redaction import redacted
from invertory.resources.seals import CorruptFileError

if TYPE_CHECKING:
    from invertory.pipelines.cli.running import Report
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

MAX_TRACED = 12  # rows of a table that `trace` prints; --json has them all


def report_json(recipe: Recipe, store: Store, models: ModelStore, report: Report) -> dict[str, Any]:
    """What `run` did and what lies in the store now."""
    return {
        "recipe": report.recipe,
        "is_up_to_date": report.is_up_to_date,
        "new_shards": report.new_shards,
        "num_computed": report.num_computed,
        "elapsed_s": round(report.elapsed_s, 2),
        "failures": report.failures,
        "corrupt": report.corrupt,
        "run_ids": report.run_ids,
        "status": status_json(recipe, store, models),
    }


def status_json(recipe: Recipe, store: Store, models: ModelStore) -> dict[str, Any]:
    """Rows, rejects by reason and stale shards of every table of the recipe."""
    chain = chain_of(recipe, models)
    keys = Keys(store)
    pending = Counter(s.stage.table for s in chain.pending(store) if not s.is_retry)
    rows: list[dict[str, Any]] = []
    corrupt: list[str] = []
    files = _files_by_status(store, corrupt)
    for stage in chain.stages:
        corrupt += _corrupt(store, stage.table, chain.shards(stage, keys), keys)
        done = [s for s in chain.shards(stage, keys) if keys(stage.table, s)]
        rejects: Counter[str] = Counter()
        for shard in done:
            rejects.update(store.summary(stage.table, shard).rejects)
        unread = files if stage.table == "images" else rejects
        rows.append(
            {
                "table": stage.table,
                "num_rows": sum(store.num_rows(stage.table, shard) for shard in done),
                "rejects": dict(rejects),
                "num_shards": len(done),
                "num_pending": pending[stage.table],
                "num_retried": sum(unread.get(status, 0) for status in RETRIED),
            }
        )
    return {
        "recipe": recipe.name,
        "store": redacted(store.base),
        "files": sum(store.num_rows("entries", shard) for shard in keys.shards),
        "files_by_status": files,
        "tables": rows,
        "corrupt": list(dict.fromkeys(corrupt)),
    }


def tell_report(recipe: Recipe, store: Store, models: ModelStore, report: Report) -> None:
    """After a run: what was computed, what failed, and the tables as they are."""
    console = Console()
    for found in report.corrupt:
        console.print(f"[yellow]computed again[/] {escape(found)}")
    if report.failures:
        console.print(
            f"[red]Failed:[/] {len(report.failures)} of {recipe.name}'s tables; what was made "
            "before stays, and the same command goes on from there."
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
    tell_status([status], console)


def tell_status(found: list[dict[str, Any]], console: Console | None = None) -> None:
    """The tables of each recipe with rows, rejects by reason and what is stale."""
    console = console or Console()
    for status in found:
        console.print()
        console.print(f"[bold]{status['recipe']}[/]  {status['files']} files  {status['store']}")
        if not status["files"]:
            console.print(f"  nothing yet; `invertory run {status['recipe']}` starts it")
            continue
        told = Table(box=None, pad_edge=False, header_style="dim")
        for name, justify in (("table", "left"), ("rows", "right"), ("shards", "right")):
            told.add_column(name, justify=justify)  # type: ignore[arg-type]
        told.add_column("rejects")
        told.add_column("state")
        for table in status["tables"]:
            reasons = table["rejects"]
            if table["table"] == "images":
                reasons = {k: v for k, v in status["files_by_status"].items() if k != "ok"}
            state = "[green]current[/]" if not table["num_pending"] else "[yellow]stale[/]"
            if number := table["num_retried"]:
                state += f", the next run reads {number} again"
            told.add_row(
                table["table"],
                str(table["num_rows"]),
                str(table["num_shards"]),
                ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items())),
                state,
            )
        console.print(told)
        for path in status["corrupt"]:
            console.print(f"[red]corrupt or lost[/] {escape(path)}")
        if status["corrupt"]:
            name = status["recipe"]
            console.print(
                f"`invertory verify {name} --repair`, then `invertory run {name}`, computes them "
                "again",
                markup=False,
            )


def next_steps(recipe: Recipe, store: Store, models: ModelStore) -> None:
    """After the demo: the exported set, the gallery, and how to go on."""
    from invertory.pipelines.gallery.from_tables import show
    from invertory.pipelines.tables.export_set import set_folder

    console = Console()
    console.print()
    console.print(f"gallery   {show(recipe, store, models)}")
    if recipe.augmentation:
        console.print(f"export    {set_folder(store, recipe.augmentation.method)}")
    console.print(f"tables    {store.base}  (any Parquet reader opens them)")
    console.print("the UI    make ui")
    console.print(f"a picture invertory trace {_any_image(store) or '<file name>'}")
    console.print("your own  make demo COLLECTION=<folder>, or invertory recipes new <name>")


def tell_trace(found: dict[str, Any]) -> None:
    """One picture's chain as a tree: table, what made it, rows."""
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


def tell_models(cards: list[dict[str, Any]]) -> None:
    """Networks that a recipe can name."""
    told = Table(box=None, pad_edge=False, header_style="dim")
    told.add_column("name", no_wrap=True)
    told.add_column("kind", no_wrap=True)
    told.add_column("at hand", no_wrap=True)
    told.add_column("licence", overflow="ellipsis", no_wrap=True)
    for card in cards:
        at_hand = "yes" if card["is_at_hand"] else "-"
        told.add_row(card["name"], card["kind"], at_hand, card["licence"])
    Console().print(told)
    Console().print("[dim]`invertory models show NAME` has source, digest and the whole licence[/]")


def tell_card(card: dict[str, Any]) -> None:
    """One network's card."""
    told = Table(box=None, show_header=False, pad_edge=False)
    for name, value in card.items():
        told.add_row(f"[dim]{name}[/]", escape(str(value)))
    Console().print(told)


def tell_recipes(found: list[dict[str, Any]]) -> None:
    """The recipes and what they make."""
    told = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("recipe", "generator", "methods", "collection", "description"):
        told.add_column(name, overflow="fold")
    for row in found:
        told.add_row(row["recipe"], row["generator"], ", ".join(row["methods"]),
                     ", ".join(row["collection"]), row["description"])  # fmt: skip
    Console().print(told)


def _files_by_status(store: Store, corrupt: list[str]) -> dict[str, int]:
    """Of all sound shards; the paths of others are added to `corrupt`."""
    counts: Counter[str] = Counter()
    for shard in store.shards("images"):
        try:
            statuses = store.table("images", shard, ["status"]).column("status")
        except CorruptFileError as error:
            corrupt += [error.path] if error.path not in corrupt else []
            continue
        for pair in pc.value_counts(statuses).to_pylist():
            counts[pair["values"]] += pair["counts"]
    return dict(counts)


def _corrupt(store: Store, table: str, shards: list[str], keys: Keys) -> list[str]:
    """Files of shards that were published once and are not done: broken ones, and lost ones."""
    found: list[str] = []
    there = set(store.shards(table))
    for shard in shards:
        if shard in there and keys(table, shard) is None:
            footer = store.footer(table, shard)
            found += [store.path(table, shard)] if footer is None else (
                store.faults(table, shard, footer)
            )  # fmt: skip
    return found


def _any_image(store: Store) -> str | None:
    for batch in store.read_all("aligned", ["image_id"]):
        for image_id in batch.column("image_id").to_pylist():
            return str(image_id)[:12]
    return None


def _made_by(table: dict[str, Any]) -> str:
    networks = ", ".join(f"{name} {sha[:8]}" for name, sha in (table.get("models") or {}).items())
    run = f"run {table['run_id'][:8]}" if table.get("run_id") else ""
    where = "" if table["shard"] == ALL else table["shard"]
    return "  ".join(part for part in (where, run, networks) if part)


def _line(row: dict[str, Any]) -> str:
    parts = []
    for name, value in row.items():
        if value is None or name in {"image_id"}:
            continue
        if isinstance(value, float):
            value = f"{value:.4g}"
        elif isinstance(value, list):
            value = (
                "[" + ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value) + "]"
            )
        parts.append(f"{name}={value}")
    return "  ".join(parts)
