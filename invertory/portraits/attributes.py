"""The attributes of a portrait: their names, and the thresholds of the binary ones."""

from __future__ import annotations

import difflib
from typing import Final

SEGMENTS: Final = ("background", "skin", "hair", "eyes", "mouth", "clothes", "accessory", "ood")
OOD_KINDS: Final = ("hat", "mask", "hand", "microphone", "text")
# Attributes of the face, in sampling order: a group precedes the attributes that depend on it.
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
LIGHT_SKIN_MONK: Final = 5.0  # skin is light below this tone
SMILE_FROM: Final = 0.3
MOUTH_OPEN_FROM: Final = 0.25
GREY_FROM: Final = 0.5


def check_attribute(name: str, among: tuple[str, ...] = ATTRIBUTES) -> str:
    """Return the name if it is one of `among`; otherwise raise ValueError with similar names."""
    if name in among:
        return name
    near = difflib.get_close_matches(name, among, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"expected an attribute among {', '.join(among)}; got {name!r}{hint}")
