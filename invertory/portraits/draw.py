"""Draws a portrait from a seed: every trait is a function of the seed's numbers in fixed order.

The world only changes thresholds, so the same seed is the same person in every world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from invertory.portraits import palette
from invertory.portraits.attributes import (
    BINARY,
    DECIDED,
    LIGHT_SKIN_MONK,
    OLD_YEARS,
    OOD_KINDS,
)
from invertory.portraits.counterfactual import with_attribute
from invertory.portraits.ood import draw_object
from invertory.portraits.palette import Colour, jitter, mix
from invertory.portraits.portrait import Portrait
from invertory.portraits.streams import MAX_SEED, Stream, check_seed, normals, uniforms
from invertory.portraits.world import World

NUM_UNIFORMS: Final = 96  # draws per portrait and kind; 57 uniform and 35 normal are used
TRAITS: Final = (
    "skin_warmth", "light_strength", "light_warmth", "face_length", "jaw_width", "chin_length",
    "cheek_fullness", "forehead_height", "ear_size", "neck_width", "eye_spacing", "eye_size",
    "eye_openness", "eye_tilt", "eye_depth", "brow_height", "brow_thickness", "brow_arch",
    "brow_tilt", "nose_length", "nose_width", "nose_height", "mouth_width", "upper_lip",
    "lower_lip", "lip_redness", "hair_volume", "hair_length", "hairline", "frame_width",
)  # fmt: skip
_OOD_STREAM: Final = 0x0DD0_0DD0  # mixed into the seed of out-of-domain objects


def draw(seed: int, world: World | None = None) -> Portrait:
    """The portrait of this seed, 0 to 2^63 - 1, in this world (by default the in-domain one).

    Raises ValueError for other seeds.
    """
    world = world or World()
    seed = check_seed(seed)
    traits = np.clip(normals(uniforms(seed ^ (MAX_SEED >> 1), NUM_UNIFORMS)), -2.2, 2.2)
    stream = Stream(seed, NUM_UNIFORMS)
    decided, age_years = _decide(stream, world)
    named: dict[str, Any] = {n: float(t) for n, t in zip(TRAITS, traits, strict=False)}
    portrait = Portrait(
        seed=seed,
        age_years=age_years,
        **named,
        **_pose(traits[len(TRAITS) :]),
        **_face(stream, decided),
        **_hair(stream, decided, age_years),
        **_worn(stream, decided),
        **_scene(stream, traits[len(TRAITS) + 3 :]),
    )
    return _in_world(portrait, world)


def _decide(stream: Stream, world: World) -> tuple[dict[str, bool], float]:
    """Sample all binary attributes in the order of DECIDED, and the age in years."""
    within = stream.uniform()
    decided: dict[str, bool] = {}
    age_years = 0.0
    for name in DECIDED:
        rate = world.probability(name, decided, _base_probability(name, decided, age_years))
        decided[name] = stream.uniform() < rate
        if name == "old":
            young = 18 + (OLD_YEARS - 5 - 18) * within**1.15  # no ages near the threshold
            age_years = 65 + 20 * within if decided["old"] else young
    return decided, age_years


def _base_probability(name: str, decided: Mapping[str, bool], age_years: float) -> float:
    """P(name) in the training world, given the attributes sampled before it."""
    male = decided.get("male", False)
    match name:
        case "male" | "light_skin" | "smile":
            return 0.5
        case "old":
            return 0.25
        case "mouth_open":
            return 0.45 if decided["smile"] else 0.2
        case "bald":
            return 0.08 + 0.16 * (age_years > 45) if male else 0.005
        case "long_hair":
            return 0.08 if male else 0.5 - 0.25 * (age_years > 60)
        case "curly_hair":
            return 0.0 if decided["long_hair"] else 0.16 + 0.14 * (not decided["light_skin"])
        case "bangs":
            return 0.14 if male else 0.3
        case "blond_hair":
            return 0.3 if decided["light_skin"] else 0.02
        case "grey_hair":
            return float(np.clip((age_years - 42) / 30, 0.0, 0.9))
        case "beard":
            return 0.4 if male else 0.0
        case "moustache":
            return 0.4 if male and decided["beard"] else 0.12 * male
        case "makeup":
            return 0.01 if male else 0.5
        case "glasses":
            return 0.2 + 0.12 * decided["old"]
        case "sunglasses":
            return 0.0 if decided["glasses"] else 0.08
        case _:  # earrings
            return 0.1 if male else 0.55


def _pose(traits: np.ndarray) -> dict[str, Any]:
    yaw, pitch, light = (float(t) for t in traits[:3])
    return {
        "yaw_deg": float(np.clip(15 * yaw, -35, 35)),
        "pitch_deg": float(np.clip(4.5 * pitch, -12, 12)),
        "light_deg": float(np.clip(30 * light, -60, 60)),
    }


def _face(stream: Stream, decided: Mapping[str, bool]) -> dict[str, Any]:
    light = decided["light_skin"]
    tone = stream.uniform()
    monk = 1 + 3.6 * tone if light else LIGHT_SKIN_MONK + 0.4 + 4.6 * tone
    eyes = (
        palette.LIGHT_EYES if stream.uniform() < (0.55 if light else 0.04) else palette.BROWN_EYES
    )
    iris = jitter(_pick(stream, eyes), stream.uniform(0.85, 1.15))
    smile = stream.uniform()
    opened = stream.uniform()
    freckled = stream.uniform()
    return {
        "male": decided["male"],
        "skin_monk": monk,
        "freckles": max(freckled - 0.82, 0.0) / 0.18 * (monk < 5),
        "iris_colour": iris,
        "lid_crease": stream.uniform(0.1, 1.0),
        "gaze_x": stream.uniform(-0.6, 0.6),
        "gaze_y": stream.uniform(-0.3, 0.3),
        "smile_amount": 0.45 + 0.55 * smile if decided["smile"] else -0.75 + 0.85 * smile,
        "mouth_open_amount": 0.4 + 0.6 * opened if decided["mouth_open"] else 0.0,
        "light_height_deg": stream.uniform(15, 55),
        "makeup": decided["makeup"],
        "lipstick": _pick(stream, palette.LIPSTICKS),
        "eyeshadow": _pick(stream, palette.EYESHADOWS),
    }


def _hair(stream: Stream, decided: Mapping[str, bool], age_years: float) -> dict[str, Any]:
    shade, grey, wave = stream.uniform(), stream.uniform(), stream.uniform()
    natural = _hair_colour(stream, decided)
    is_short = not decided["long_hair"] and not decided["curly_hair"]
    return {
        "bald": decided["bald"],
        "hair_style": _style(stream.uniform(), stream.uniform(), decided, age_years),
        "fringe": "bangs" if decided["bangs"] else "part" if stream.uniform() < 0.6 else "swept",
        "hair_colour": jitter(natural, 0.85 + 0.3 * shade),
        "is_blond": decided["blond_hair"],
        "hair_grey": 0.7 + 0.3 * grey if decided["grey_hair"] else 0.06 * grey * (age_years > 40),
        "hair_wave": wave if not is_short else 0.5 * wave,
        "hair_part_x": stream.uniform(-0.45, 0.45),
        "over_ears": stream.uniform() < 0.6 and not decided["earrings"],
        "texture_seed": stream.integer(2**31),
        "beard": ("full" if stream.uniform() < 0.65 else "goatee") if decided["beard"] else "none",
        "moustache": decided["moustache"],
        "stubble": stream.uniform() * 0.7 * (decided["male"] and not decided["beard"]),
        "beard_length": stream.uniform(),
    }


def _hair_colour(stream: Stream, decided: Mapping[str, bool]) -> Colour:
    which, between = stream.uniform(), stream.uniform()
    light = decided["light_skin"]
    if decided["blond_hair"]:
        shades: tuple[Colour, ...] = palette.BLOND_HAIR
    elif which < (0.35 if light else 0.82):
        shades = palette.DARK_HAIR
    elif which < (0.85 if light else 0.99):
        shades = palette.BROWN_HAIR
    else:
        shades = palette.RED_HAIR
    at = between * (len(shades) - 1)
    low = min(int(at), len(shades) - 2)
    return mix(shades[low], shades[low + 1], at - low)


def _style(first: float, second: float, decided: Mapping[str, bool], age_years: float) -> str:
    """A hair style with the sampled attributes."""
    male = decided["male"]
    if decided["long_hair"]:
        return "long"
    if decided["curly_hair"]:
        return "afro" if first < (0.15 if decided["light_skin"] else 0.5) else "curly"
    if decided["bangs"]:
        return "short" if male or first < 0.15 else "bob"
    if male:
        receding = 0.08 + 0.4 * (age_years > 42)
        return "receding" if first < receding else "buzz" if second < 0.28 else "short"
    if first < 0.36:
        return "bob"
    return ("ponytail" if second < 0.5 else "bun") if first < 0.78 else "short"


def _worn(stream: Stream, decided: Mapping[str, bool]) -> dict[str, Any]:
    return {
        "glasses": decided["glasses"],
        "sunglasses": decided["sunglasses"],
        "lens": ("round", "square", "square", "aviator")[stream.integer(4)],
        "frame_colour": _pick(stream, palette.FRAMES),
        "lens_tint": _pick(stream, palette.TINTS),
        "earrings": decided["earrings"],
        "earring": ("stud", "hoop", "drop")[stream.integer(3)],
        "earring_colour": _pick(stream, palette.METALS),
        "shirt_colour": jitter(_pick(stream, palette.SHIRTS), stream.uniform(0.8, 1.15)),
        "collar": stream.integer(4),
    }


def _scene(stream: Stream, traits: np.ndarray) -> dict[str, Any]:
    first, second = _pick(stream, palette.BACKGROUNDS), _pick(stream, palette.BACKGROUNDS)
    bright = stream.uniform(0.75, 1.15)
    near = jitter(first, bright, stream.uniform(-0.03, 0.03))
    return {
        "background": (near, jitter(mix(first, second, 0.5), bright * stream.uniform(0.75, 1.1))),
        "background_seed": stream.integer(2**31),
        "crop_shift_x": 0.006 * float(traits[0]),
        "crop_shift_y": 0.006 * float(traits[1]),
        "crop_scale": 1.0 + 0.02 * float(traits[2]),
    }


def _in_world(portrait: Portrait, world: World) -> Portrait:
    """The same person with the fixed attributes and objects of the world."""
    for name, value in world.fixed.items():
        if name not in OOD_KINDS and (name not in BINARY or portrait.attributes[name] != value):
            portrait = with_attribute(portrait, name, value)
    busy = world.background == "busy" or portrait.busy_background
    stream = Stream(portrait.seed ^ _OOD_STREAM, 4)
    has_ood = stream.uniform() < world.ood
    which = stream.uniform()
    kinds = {world.ood_kinds[int(which * len(world.ood_kinds))]} if has_ood else set()
    kinds = {kind for kind in OOD_KINDS if world.fixed.get(kind, kind in kinds)}
    objects = tuple(draw_object(portrait.seed, kind) for kind in OOD_KINDS if kind in kinds)
    return replace(portrait, busy_background=busy, ood=objects)


def _pick(stream: Stream, colours: tuple[Colour, ...]) -> Colour:
    return colours[stream.integer(len(colours))]
