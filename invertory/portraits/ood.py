"""The objects over a portrait: their shapes, colours and positions, from the portrait's seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from invertory.portraits import palette
from invertory.portraits.attributes import OOD_KINDS
from invertory.portraits.streams import Stream

OodKind = Literal["hat", "mask", "hand", "microphone", "text"]
VARIANTS: Final = {"hat": 4, "mask": 2, "hand": 2, "microphone": 2, "text": 3}


@dataclass(frozen=True, slots=True)
class OodObject:
    """An object in front of or on a face that the generator never sees in training."""

    kind: OodKind
    variant: int  # shape within its kind
    colour: palette.Colour
    second_colour: palette.Colour
    size: float  # factor, about 1
    shift_x: float  # hu
    shift_y: float  # hu
    turn_deg: float
    seed: int  # of its pattern, letters, fingers


def draw_object(seed: int, kind: str) -> OodObject:
    """The object of this kind for the portrait of this seed; the same in every world."""
    which: OodKind = next(k for k in OOD_KINDS if k == kind)
    stream = Stream(seed ^ (0x0B1E_C700 + OOD_KINDS.index(kind)), 16)
    variant = stream.integer(VARIANTS[kind])
    first = palette.VIVID[stream.integer(len(palette.VIVID))]
    second = palette.VIVID[stream.integer(len(palette.VIVID))]
    return OodObject(
        kind=which,
        variant=variant,
        colour=palette.jitter(first, stream.uniform(0.8, 1.2)),
        second_colour=palette.jitter(second, stream.uniform(0.8, 1.2)),
        size=stream.uniform(0.88, 1.14),
        shift_x=stream.uniform(-0.5, 0.5),
        shift_y=stream.uniform(-0.25, 0.25),
        turn_deg=stream.uniform(-30, 30),
        seed=stream.integer(2**31),
    )
