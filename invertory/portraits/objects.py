"""Out-of-domain objects over a face: one function per kind, each labels exactly its pixels.

No pixel outside an object changes, so that the rest of the image equals that of
`portrait.without_ood()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from invertory.portraits import hats, held, masks, overlays
from invertory.portraits.canvas import Canvas
from invertory.portraits.head import Head
from invertory.portraits.ood import OodObject
from invertory.portraits.shading import Lamp, Surface

Draw = Callable[[Canvas, Head, Surface, Lamp, OodObject], None]
DRAWERS: Final[dict[str, Draw]] = {
    "hat": hats.draw_hat,
    "mask": masks.draw_mask,
    "hand": held.draw_hand,
    "microphone": held.draw_microphone,
    "text": overlays.draw_text,
}
# from far to near
ORDER: Final = ("mask", "hat", "hand", "microphone", "text")


def draw_objects(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp) -> None:
    """Draw every object of the portrait, the nearest last."""
    for ood_object in sorted(head.portrait.ood, key=lambda o: ORDER.index(o.kind)):
        DRAWERS[ood_object.kind](canvas, head, surface, lamp, ood_object)
