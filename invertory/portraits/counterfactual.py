"""The same person with one attribute changed: the ground truth of an edit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from invertory.portraits.attributes import (
    BINARY,
    CONTINUOUS,
    LIGHT_SKIN_MONK,
    MOUTH_OPEN_FROM,
    OLD_YEARS,
    OOD_KINDS,
    SMILE_FROM,
    check_attribute,
)
from invertory.portraits.ood import draw_object
from invertory.portraits.visibility import visible_attributes

if TYPE_CHECKING:
    from invertory.portraits.appearance import Appearance

P = TypeVar("P", bound="Appearance")

RANGES: Final = {
    "age_years": (18.0, 85.0),
    "yaw_deg": (-40.0, 40.0),
    "pitch_deg": (-15.0, 15.0),
    "light_deg": (-70.0, 70.0),
    "skin_monk": (1.0, 10.0),
    "smile_amount": (-1.0, 1.0),
    "mouth_open_amount": (0.0, 1.0),
}
BLOND: Final = (0.72, 0.55, 0.30)
BROWN: Final = (0.24, 0.15, 0.09)


def with_attribute(portrait: P, name: str, value: float) -> P:
    """Return `portrait` with this attribute changed, together with attributes that depend on it.

    A binary attribute that already has the value leaves the portrait unchanged. Dependent
    attributes follow: making a bearded person female removes the beard, and grey hair requires
    hair. Raises ValueError for unknown names, values out of range, or changes that an object would
    hide.
    """
    check_attribute(name)
    if name in CONTINUOUS:
        changes: dict[str, Any] = {name: check_range(name, value)}
        return replace(portrait, **changes)
    if value not in (0, 1):
        raise ValueError(f"expected 0 or 1 for the binary attribute {name}, got {value!r}")
    if visible_attributes(portrait)[name] == value:
        return portrait
    changed = replace(portrait, **_changes(portrait, name, bool(value)))
    if visible_attributes(changed)[name] != value:
        raise ValueError(
            f"expected a visible change, but {name} = {value:g} would be hidden behind "
            f"{', '.join(sorted({o.kind for o in portrait.ood}))}; "
            "take portrait.without_ood() first"
        )
    return changed


def check_range(name: str, value: float) -> float:
    """Return the value of a continuous attribute; raise ValueError if it is out of range."""
    low, high = RANGES[name]
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"expected {name} from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _changes(p: Appearance, name: str, on: bool) -> dict[str, Any]:
    assert name in BINARY
    if name in OOD_KINDS:
        return _ood(p, name, on)
    if name in _HAIR:
        return _hair(p, name, on)
    return _face(p, name, on)


def _ood(p: Appearance, name: str, on: bool) -> dict[str, Any]:
    kept = tuple(o for o in p.ood if o.kind != name)
    return {"ood": (*kept, draw_object(p.seed, name)) if on else kept}


_HAIR: Final = ("bald", "long_hair", "curly_hair", "bangs", "blond_hair", "grey_hair")


def _hair(p: Appearance, name: str, on: bool) -> dict[str, Any]:
    short = "short" if p.male else "bob"
    if name == "bald":
        return {"bald": on}
    if name == "long_hair":
        return {"bald": False, "hair_style": "long"} if on else {"hair_style": short}
    if name == "curly_hair":
        return {"bald": False, "hair_style": "curly"} if on else {"hair_style": short}
    if name == "bangs":
        holds = p.hair_style in ("short", "bob", "long", "curly")
        style = p.hair_style if holds else short
        return (
            {"bald": False, "fringe": "bangs", "hair_style": style} if on else {"fringe": "swept"}
        )
    if name == "blond_hair":
        dye = {"bald": False, "hair_grey": min(p.hair_grey, 0.1), "hair_colour": BLOND}
        return {**dye, "is_blond": True} if on else {"is_blond": False, "hair_colour": BROWN}
    return {"bald": False, "hair_grey": max(p.hair_grey, 0.85)} if on else {"hair_grey": 0.0}


def _face(p: Appearance, name: str, on: bool) -> dict[str, Any]:
    match name:
        case "male":
            shaven = {"beard": "none", "moustache": False, "stubble": 0.0}
            return {"male": True} if on else {"male": False, **shaven}
        case "old":
            return {"age_years": max(OLD_YEARS, 72.0) if on else 32.0}
        case "light_skin":
            return {"skin_monk": 2.5 if on else LIGHT_SKIN_MONK + 2.5}
        case "smile":
            return {"smile_amount": max(SMILE_FROM, 0.8) if on else 0.0}
        case "mouth_open":
            return {"mouth_open_amount": max(MOUTH_OPEN_FROM, 0.6) if on else 0.0}
        case "beard":
            return {"beard": "full" if on else "none"}
        case "moustache":
            grown = {"moustache": on}
            return grown if on or p.beard != "full" else {**grown, "beard": "none"}
        case "glasses":
            return {"glasses": on, "sunglasses": False}
        case "sunglasses":
            return {"sunglasses": on}
        case "earrings":
            return {"earrings": on, **(_free_ears(p) if on else {})}
        case _:
            return {name: on}


def _free_ears(p: Appearance) -> dict[str, Any]:
    if p.hair_style in ("curly", "afro", "bob"):
        return {"hair_style": "short" if p.male else "ponytail"}
    return {"over_ears": False}
