"""The card beside a network's weights: what it is, where it is from, what may be done with it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from invertory.resources.footers import check_name
from invertory.resources.pinned import PINNED, ModelCard


def card_in(folder: Path, kind: str, name: str) -> ModelCard:
    """`<name>.json` of a folder whose networks are addressed as `<kind>://<name>`."""
    card = read_card(folder, name)
    texts = {
        field.name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for field in fields(ModelCard)
        if (value := card.get(field.name)) is not None
    }
    identity = {"name": name, "source": f"{kind}://{name}"}
    return ModelCard(**{field.name: "" for field in fields(ModelCard)} | texts | identity)


def cards_in(folder: Path, kind: str) -> list[ModelCard]:
    """Every card of the folder."""
    return [card_in(folder, kind, path.stem) for path in sorted(folder.glob("*.json"))]


def read_card(folder: Path, name: str) -> dict[str, Any]:
    """All that the card says: quality, command and data where it has them."""
    if not has_card(folder, name):
        known = sorted({*PINNED, *(path.stem for path in folder.glob("*.json"))})
        raise FileNotFoundError(f"expected a card for {name!r}, got only {known}; choose one")
    card: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return card


def digest_in(folder: Path, name: str) -> str | None:
    """The digest that the weights must have; None where no card says it."""
    return read_card(folder, name).get("sha256") if has_card(folder, name) else None


def has_card(folder: Path, name: str) -> bool:
    return (folder / f"{check_name(name, 'network')}.json").is_file()
