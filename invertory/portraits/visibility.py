"""The attributes of a portrait that are visible in its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invertory.portraits.attributes import (
    BINARY,
    CONTINUOUS,
    GREY_FROM,
    LIGHT_SKIN_MONK,
    MOUTH_OPEN_FROM,
    OLD_YEARS,
    OOD_KINDS,
    SMILE_FROM,
)

if TYPE_CHECKING:
    from invertory.portraits.appearance import Appearance


def visible_attributes(portrait: Appearance) -> dict[str, float]:
    """Attributes in the order of ATTRIBUTES; a binary one is 1 only if it is visible in the image.

    Continuous ones describe the face itself, even behind a mask.
    """
    visible = _visible_binary(portrait)
    binary = {name: float(visible[name]) for name in BINARY}
    return binary | {name: float(getattr(portrait, name)) for name in CONTINUOUS}


def _visible_binary(p: Appearance) -> dict[str, bool]:
    ood = {o.kind for o in p.ood}
    masks = {o.variant for o in p.ood if o.kind == "mask"}
    lower_free = 0 not in masks  # variant 0 covers nose, mouth and chin
    mouth_free = lower_free and not any(o.kind == "hand" and o.variant == 0 for o in p.ood)
    chin_free = mouth_free and not {"microphone", "text"} & ood
    eyes_free = 1 not in masks  # variant 1 covers the area around the eyes
    has_hair = not p.bald
    loose = p.hair_style in ("curly", "afro", "bob", "long", "ponytail")
    colour_shows = has_hair and (loose or "hat" not in ood)
    grey = p.hair_grey >= GREY_FROM
    return {
        "male": p.male,
        "old": p.age_years >= OLD_YEARS,
        "light_skin": p.skin_monk < LIGHT_SKIN_MONK,
        "smile": p.smile_amount >= SMILE_FROM and mouth_free,
        "mouth_open": p.mouth_open_amount >= MOUTH_OPEN_FROM and mouth_free,
        "bald": p.bald and "hat" not in ood,
        "long_hair": has_hair and p.hair_style == "long",
        "curly_hair": has_hair and p.hair_style in ("curly", "afro"),
        "bangs": has_hair and has_bangs(p) and "hat" not in ood,
        "blond_hair": colour_shows and p.is_blond and not grey,
        "grey_hair": colour_shows and grey,
        "beard": lower_free and (p.beard == "full" or (p.beard == "goatee" and chin_free)),
        "moustache": has_moustache(p) and mouth_free,
        "makeup": p.makeup and (mouth_free or (eyes_free and not p.sunglasses)),
        "glasses": p.glasses and not p.sunglasses and eyes_free,
        "sunglasses": p.sunglasses,
        "earrings": p.earrings and not hides_ears(p),
        **{kind: kind in ood for kind in OOD_KINDS},
        "busy_background": p.busy_background,
    }


def has_bangs(p: Appearance) -> bool:
    """Whether hair covers the forehead; pulled-back and cropped styles have no bangs."""
    return p.fringe == "bangs" and p.hair_style in ("short", "bob", "long", "curly")


def has_moustache(p: Appearance) -> bool:
    """Whether there is a moustache, on its own or as part of a full beard."""
    return p.moustache or p.beard == "full"


def hides_ears(p: Appearance) -> bool:
    """Whether the hair covers both ears."""
    return not p.bald and (p.hair_style in ("curly", "afro", "bob") or _long_over(p))


def _long_over(p: Appearance) -> bool:
    return p.hair_style == "long" and p.over_ears
