"""Parses a world from settings such as `glasses|male=0.8`, as in addresses and on command lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from invertory.portraits.attributes import (
    BINARY,
    CONTINUOUS,
    DECIDED,
    OOD_KINDS,
    check_attribute,
)
from invertory.portraits.world import World

OTHERS: Final = ("ood", "ood_kinds", "background")


def parse_world(settings: Iterable[tuple[str, str]], others: tuple[str, ...] = ()) -> World:
    """Pairs (name, value) => the world that they describe; raises ValueError for invalid ones.

    `glasses=0.5` is a rate, `glasses|male=0.8` and `glasses|not male=0.2` (or `!male`) are rates
    within a group, `age_years=70` fixes a continuous attribute, `ood=0.2` is the share of portraits
    with an object, `ood_kinds=hat,mask` limits its kind, and `background=busy` draws a busy
    background. `others` are names that the caller accepts, for the hint of an error.
    """
    world_fields: dict[str, Any] = {"rates": {}, "correlations": {}, "fixed": {}}
    seen: set[str] = set()
    for key, value in settings:
        name = _plain(key)
        if name in seen:
            raise ValueError(f"expected each setting once, got {key!r} twice; remove one")
        seen.add(name)
        field, parsed = _read(name, value, others)
        if field in OTHERS:
            world_fields[field] = parsed
        else:
            world_fields[field][name] = parsed
    return World(**world_fields)


def canonical_settings(settings: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The settings in a canonical spelling and order, so that equal worlds have equal settings."""
    return sorted((_plain(key).replace(" | not ", "|!").replace(" | ", "|"), value.strip())
                  for key, value in settings)  # fmt: skip


def _plain(key: str) -> str:
    """ "glasses|!male" => "glasses | not male"."""
    name, bar, group = (part.strip() for part in key.partition("|"))
    group = re.sub(r"^(?:!|not[\s_]+)\s*", "not ", group)
    return f"{name} | {group}" if bar else name


def _read(name: str, value: str, others: tuple[str, ...]) -> tuple[str, Any]:
    """(field of World, value)."""
    if name == "background":
        return name, value
    if name == "ood_kinds":
        return name, tuple(kind.strip() for kind in value.split(","))
    if name == "ood":
        return name, _number(name, value)
    if "|" in name:
        return "correlations", _number(name, value)
    if name in CONTINUOUS:
        return "fixed", _number(name, value)
    if name in OOD_KINDS:
        raise ValueError(
            f"expected a share for everything out of domain, such as ood=0.2 and ood_kinds={name}, "
            f"got a rate of {name!r} alone"
        )
    known = (*others, *DECIDED, *CONTINUOUS, *OTHERS)
    if name not in known and name not in BINARY:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        raise ValueError(f"unknown setting {name!r} of a world{hint}")
    return "rates", _number(check_attribute(name, DECIDED), value)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number for {name!r}, got {text!r}") from None
