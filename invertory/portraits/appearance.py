"""The named parameters of a drawn face, which determine everything else.

Units. Lengths are in head units (hu): 1 hu is half the width of the face at the cheekbones, the
origin is midway between the eyes, y points down, and x to the right as seen. Angles are in degrees.
Amounts run from 0 to 1. Colours are sRGB in [0, 1]. Traits are in standard deviations: 0 is the
average face of that sex and age. Sex and age modify the traits when the head is built (`head.py`),
so that `dataclasses.replace(portrait, age_years=70)` is the same person at an older age.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from invertory.portraits.ood import OodObject
from invertory.portraits.palette import Colour

HairStyle = Literal["buzz", "short", "receding", "curly", "afro", "bob", "long", "bun", "ponytail"]
Fringe = Literal["swept", "part", "bangs"]
Beard = Literal["none", "goatee", "full"]
Lens = Literal["round", "square", "aviator"]
Earring = Literal["stud", "hoop", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """A face with its hair, clothes, light and background; the defaults are the average face."""

    seed: int = 0
    male: bool = False
    age_years: float = 35.0  # 18 to 85
    skin_monk: float = 4.0  # Monk skin tone, 1 (lightest) to 10 (darkest)
    skin_warmth: float = 0.0  # trait: ruddy or sallow
    freckles: float = 0.0  # amount

    # pose and light
    yaw_deg: float = 0.0  # positive: head turned to the right as seen
    pitch_deg: float = 0.0  # positive: looking up
    light_deg: float = 0.0  # direction of the key light; positive: right as seen
    light_height_deg: float = 35.0
    light_strength: float = 0.0  # trait: contrast of key against fill
    light_warmth: float = 0.0  # trait

    # head, traits
    face_length: float = 0.0
    jaw_width: float = 0.0
    chin_length: float = 0.0
    cheek_fullness: float = 0.0
    forehead_height: float = 0.0
    ear_size: float = 0.0
    neck_width: float = 0.0

    # eyes and brows
    eye_spacing: float = 0.0  # trait
    eye_size: float = 0.0  # trait
    eye_openness: float = 0.0  # trait
    eye_tilt: float = 0.0  # trait: outer corners up
    eye_depth: float = 0.0  # trait: depth of the sockets
    lid_crease: float = 0.5  # amount
    iris_colour: Colour = (0.36, 0.22, 0.12)
    gaze_x: float = 0.0  # -1 to 1, share of the iris's range
    gaze_y: float = 0.0
    brow_height: float = 0.0  # trait
    brow_thickness: float = 0.0  # trait
    brow_arch: float = 0.0  # trait
    brow_tilt: float = 0.0  # trait

    # nose, mouth
    nose_length: float = 0.0  # trait
    nose_width: float = 0.0  # trait
    nose_height: float = 0.0  # trait: protrusion
    mouth_width: float = 0.0  # trait
    upper_lip: float = 0.0  # trait: thickness
    lower_lip: float = 0.0  # trait
    lip_redness: float = 0.0  # trait
    smile_amount: float = 0.0  # -1 (sad) to 1 (wide smile)
    mouth_open_amount: float = 0.0  # 0 shut to 1

    # hair
    bald: bool = False
    hair_style: HairStyle = "short"  # kept when bald, so that hair can be restored
    fringe: Fringe = "swept"
    hair_colour: Colour = (0.22, 0.14, 0.09)  # before any grey
    is_blond: bool = False
    hair_grey: float = 0.0  # amount
    hair_volume: float = 0.0  # trait
    hair_wave: float = 0.2  # amount
    hair_part_x: float = 0.3  # hu
    hair_length: float = 0.0  # trait, relative to the style
    hairline: float = 0.0  # trait: higher
    over_ears: bool = False  # hair of a long style hides the ears
    texture_seed: int = 0  # phases of strands, freckles, jags

    # beard
    beard: Beard = "none"
    moustache: bool = False
    stubble: float = 0.0  # amount; does not count as a beard
    beard_length: float = 0.3  # amount

    # make-up
    makeup: bool = False
    lipstick: Colour = (0.72, 0.12, 0.18)
    eyeshadow: Colour = (0.45, 0.3, 0.4)

    # worn
    glasses: bool = False
    sunglasses: bool = False
    lens: Lens = "square"
    frame_colour: Colour = (0.1, 0.08, 0.08)
    frame_width: float = 0.0  # trait
    lens_tint: Colour = (0.06, 0.06, 0.08)
    earrings: bool = False  # may be hidden by hair or pose
    earring: Earring = "stud"
    earring_colour: Colour = (0.9, 0.8, 0.5)
    shirt_colour: Colour = (0.3, 0.35, 0.45)
    collar: int = 0  # 0 round neck, 1 V neck, 2 shirt collar, 3 high neck

    # behind
    background: tuple[Colour, Colour] = ((0.6, 0.62, 0.65), (0.45, 0.47, 0.5))
    background_seed: int = 0
    busy_background: bool = False

    # crop
    crop_shift_x: float = 0.0  # shares of the side
    crop_shift_y: float = 0.0
    crop_scale: float = 1.0  # above 1: larger than the FFHQ crop

    ood: tuple[OodObject, ...] = field(default=())
