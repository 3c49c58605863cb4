"""The card of a network, next to its weights: what it is, its origin and its licence."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from invertory.resources.footers import check_name
from invertory.resources.pinned import PINNED, ModelCard


def card_in(folder: Path, kind: str, name: str) -> ModelCard:
    """Read `<name>.json` in a folder whose networks have the address `<kind>://<name>`."""
    card = read_card(folder, name)
    texts = {
        field.name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for field in fields(ModelCard)
        if (value := card.get(field.name)) is not None
    }
    identity = {"name": name, "source": f"{kind}://{name}"}
    return ModelCard(**{field.name: "" for field in fields(ModelCard)} | texts | identity)


def cards_in(folder: Path, kind: str) -> list[ModelCard]:
    """Read every card in the folder."""
    return [card_in(folder, kind, path.stem) for path in sorted(folder.glob("*.json"))]


def read_card(folder: Path, name: str) -> dict[str, Any]:
    """Return everything in the card, including quality, command and data if present."""
    if not has_card(folder, name):
        known = sorted({*PINNED, *(path.stem for path in folder.glob("*.json"))})
        raise FileNotFoundError(f"expected a card for {name!r}, got only {known}; choose one")
    card: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return card


def digest_in(folder: Path, name: str) -> str | None:
    """Return the digest that the weights must have; None if there is no card or no digest."""
    return read_card(folder, name).get("sha256") if has_card(folder, name) else None


def has_card(folder: Path, name: str) -> bool:
    return (folder / f"{check_name(name, 'network')}.json").is_file()
