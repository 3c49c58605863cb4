"""What can be said about a portrait, and what of it can be seen in the picture."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from invertory.portraits.portrait import Portrait

SEGMENTS: Final = ("background", "skin", "hair", "eyes", "mouth", "clothes", "accessory", "ood")
OOD_KINDS: Final = ("hat", "mask", "hand", "microphone", "text")
# Of the face itself, in the order in which they are decided: a group comes before what hangs on it.
DECIDED: Final = (
    "male",
    "old",
    "light_skin",
    "smile",
    "mouth_open",
    "bald",
    "long_hair",
    "curly_hair",
    "bangs",
    "blond_hair",
    "grey_hair",
    "beard",
    "moustache",
    "makeup",
    "glasses",
    "sunglasses",
    "earrings",
)
BINARY: Final = (*DECIDED, *OOD_KINDS, "busy_background")
CONTINUOUS: Final = (
    "age_years",
    "yaw_deg",
    "pitch_deg",
    "light_deg",
    "skin_monk",
    "smile_amount",
    "mouth_open_amount",
)
ATTRIBUTES: Final = BINARY + CONTINUOUS

OLD_YEARS: Final = 60.0
LIGHT_SKIN_MONK: Final = 5.0  # lighter than this is light
SMILE_FROM: Final = 0.3
MOUTH_OPEN_FROM: Final = 0.25
GREY_FROM: Final = 0.5


def check_attribute(name: str, among: tuple[str, ...] = ATTRIBUTES) -> str:
    """The name itself where it is one of `among`; otherwise an error that offers near ones."""
    if name in among:
        return name
    near = difflib.get_close_matches(name, among, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"expected an attribute among {', '.join(among)}; got {name!r}{hint}")


def visible_attributes(portrait: Portrait) -> dict[str, float]:
    """Attributes in the order of ATTRIBUTES; a binary one is 1 only where the picture shows it.

    Continuous ones describe the face itself, also behind a mask.
    """
    seen = _seen(portrait)
    binary = {name: float(seen[name]) for name in BINARY}
    return binary | {name: float(getattr(portrait, name)) for name in CONTINUOUS}


def _seen(p: Portrait) -> dict[str, bool]:
    ood = {o.kind for o in p.ood}
    masks = {o.variant for o in p.ood if o.kind == "mask"}
    lower_free = 0 not in masks  # variant 0 covers nose, mouth and chin
    mouth_free = lower_free and not any(o.kind == "hand" and o.variant == 0 for o in p.ood)
    chin_free = mouth_free and not {"microphone", "text"} & ood
    eyes_free = 1 not in masks  # variant 1 covers the eyes' surroundings
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


def has_bangs(p: Portrait) -> bool:
    """Whether hair falls over the forehead; pulled back or cropped styles have none."""
    return p.fringe == "bangs" and p.hair_style in ("short", "bob", "long", "curly")


def has_moustache(p: Portrait) -> bool:
    """A moustache of its own, or the one of a full beard."""
    return p.moustache or p.beard == "full"


def hides_ears(p: Portrait) -> bool:
    """Whether the hair covers both ears."""
    return not p.bald and (p.hair_style in ("curly", "afro", "bob") or _long_over(p))


def _long_over(p: Portrait) -> bool:
    return p.hair_style == "long" and p.over_ears
