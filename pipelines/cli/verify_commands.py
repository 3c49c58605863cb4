"""`invertory verify`: check every table and exported set of a recipe against its checksums."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from invertory.pipelines.cli.named_recipes import recipes_named, store_of
from invertory.pipelines.cli.output import add_command, print_result
from invertory.pipelines.errors.exit_codes import FAILED, OK
from invertory.pipelines.world import model_store

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.tables import Store
    from invertory.resources.verification import Checked


def add_commands(commands: Any) -> None:
    """Add the command with its options."""
    verify = add_command(
        commands, "verify", _verify, "check all files of a store against checksums"
    )
    verify.add_argument("recipe", nargs="?", help="default: every recipe")
    verify.add_argument(
        "--repair",
        action="store_true",
        help="move corrupt files aside, so that `invertory run` computes them again",
    )


def _verify(options: argparse.Namespace) -> int:
    stores = []
    for recipe in recipes_named(options.recipe):
        store = store_of(recipe)
        stores.append(verify_store(recipe.name, store, is_repaired=options.repair))
        stores[-1]["corrupt"] += _check_missing_tables(recipe, store)
    is_intact = not any(store["corrupt"] for store in stores)
    return print_result(
        options, stores, _print_stores, OK if is_intact or options.repair else FAILED
    )


def verify_store(name: str, store: Store, *, is_repaired: bool = False) -> dict[str, Any]:
    """Count the files, and list each corrupt or missing one with the reason and the remedy."""
    from invertory.resources.verification import check_store

    num_files, corrupt = 0, []
    for checked in check_store(store):
        num_files += 1
        if checked.reason:
            corrupt.append(_describe_corrupt(name, checked, store if is_repaired else None))
    corrupt += _check_missing_entries(name, store, is_repaired=is_repaired)
    return {"recipe": name, "store": store.base, "num_files": num_files, "corrupt": corrupt}


def _describe_corrupt(name: str, checked: Checked, store: Store | None) -> dict[str, str]:
    """Describe a corrupt file; repair it if a store is passed."""
    remedy = f"invertory verify {name} --repair && invertory run {name}"
    if store is not None:
        remedy = _repair(name, checked, store)
    return {"path": checked.path, "table": checked.table, "shard": checked.shard,
            "reason": checked.reason, "remedy": remedy}  # fmt: skip


def _repair(name: str, checked: Checked, store: Store) -> str:
    """Move a file aside; return what was done and what is left to do."""
    from invertory.resources.verification import move_aside

    moved = move_aside(store, checked.path)
    done = f"moved to {moved}; " if moved else ""
    return f"{done}`invertory run {name}` computes it again"


def _check_missing_tables(recipe: Recipe, store: Store) -> list[dict[str, str]]:
    """List table files that are missing while a file that was published with them is there."""
    from invertory.pipelines.tables.chain import Keys
    from invertory.pipelines.tables.registry import chain_of
    from invertory.resources.verification import Checked

    chain, keys = chain_of(recipe, model_store()), Keys(store)
    missing = [
        Checked(store.path(stage.table, shard), stage.table, shard, "it is missing")
        for stage in chain.stages
        for shard in set(chain.shards(stage, keys)) - set(store.shards(stage.table))
        if store.siblings(stage.table, shard)
    ]
    remedy = f"`invertory run {recipe.name}` computes it again"
    return [_describe_corrupt(recipe.name, one, None) | {"remedy": remedy} for one in missing]


def _check_missing_entries(name: str, store: Store, *, is_repaired: bool) -> list[dict[str, str]]:
    """List entries that other tables need, and restore them if requested and possible."""
    from invertory.pipelines.collections.missing_entries import missing_entries, numbered_shards
    from invertory.resources.verification import Checked

    shard_tables = numbered_shards(store)
    missing = []
    for shard in missing_entries(shard_tables):
        checked = Checked(store.path("entries", shard), "entries", shard, "it is missing")
        described = _describe_corrupt(name, checked, None)
        if is_repaired:
            described["remedy"] = _restore(store, shard, shard_tables[shard])
        missing.append(described)
    return missing


def _restore(store: Store, shard: str, tables: list[str]) -> str:
    from invertory.pipelines.collections.missing_entries import restore
    from invertory.resources.seals import CorruptFileError
    from invertory.resources.verification import move_aside

    try:
        restore(store, shard, tables)
    except CorruptFileError:
        for table in tables:
            for path in (*store.siblings(table, shard), store.path(table, shard)):
                move_aside(store, path)
        return (
            f"{', '.join(tables)} of {shard} were moved aside; the next run lists its files again"
        )
    return "restored from the table of images"


def _print_stores(stores: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True)
    for store in stores:
        for file in store["corrupt"]:
            console.print(f"{file['path']}: {file['reason']}; {file['remedy']}", markup=False)
        number = len(store["corrupt"])
        missing = f"{number} corrupt or missing" if number else "all intact"
        console.print(f"{store['recipe']}: {store['num_files']} files, {missing}", markup=False)
