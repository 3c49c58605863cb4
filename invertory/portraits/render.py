"""Renders a portrait to an image, its segmentation and its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from invertory.portraits import backdrop, beard, features, palette, skin, worn
from invertory.portraits.attributes import SEGMENTS
from invertory.portraits.canvas import Canvas, clip, coverage
from invertory.portraits.hair import Hair
from invertory.portraits.head import Floats, Head
from invertory.portraits.landmarks import Crop, face_landmarks, ffhq_crop
from invertory.portraits.objects import draw_objects
from invertory.portraits.overlays import draw_busy_background
from invertory.portraits.palette import linear
from invertory.portraits.portrait import Portrait
from invertory.portraits.shading import Lamp, Surface, normals
from invertory.portraits.skin import Face

SIZES: Final = (16, 2048)


@dataclass(frozen=True, slots=True)
class Rendering:
    """A drawn portrait. Landmarks are in pixel coordinates: (0, 0) is the centre of the first
    pixel.
    """

    image: npt.NDArray[np.uint8]  # [H, W, 3]
    segmentation: npt.NDArray[np.uint8]  # [H, W], indices into SEGMENTS
    landmarks: Floats  # [68, 2] (x, y) in pixels, iBUG order


def render(portrait: Portrait, size_px: int = 64, *, supersample: int = 1) -> Rendering:
    """Draw a portrait as a square of `size_px` pixels, 16 to 2048.

    Edges are antialiased at any size; `supersample` k (1 to 8) draws k times larger and averages.
    Raises ValueError for sizes out of range.
    """
    check_whole("size_px", size_px, *SIZES)
    check_whole("supersample", supersample, 1, 8)
    head = Head.of(portrait)
    points = face_landmarks(head)
    crop = ffhq_crop(head, points)
    canvas = Canvas(crop, size_px * supersample)
    draw_portrait(canvas, head)
    light, labels = _reduce(canvas, supersample)
    image = np.sqrt(clip(light, 0, 1)) * 255 + 0.5
    return Rendering(
        image=np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0)),
        segmentation=labels,
        landmarks=_in_pixels(points, crop, size_px),
    )


def draw_portrait(canvas: Canvas, head: Head) -> None:
    """Draw all layers from back to front."""
    p = head.portrait
    lamp = Lamp.of(p)
    surface = Surface.of(head, canvas.window)
    hair = None if p.bald else Hair(head, surface)
    backdrop.draw_background(canvas, head)
    if p.busy_background:
        draw_busy_background(canvas, head)
    if hair:
        hair.draw_behind(canvas, lamp)
    backdrop.draw_body(canvas, head, lamp)
    beard.draw_below(canvas, head, lamp)
    _draw_head(canvas, head, surface, lamp, hair)
    backdrop.draw_ears(canvas, head, surface, lamp)
    if hair:
        hair.draw_front(canvas, lamp)
    worn.draw_glasses(canvas, head)
    worn.draw_earrings(canvas, head)
    draw_objects(canvas, head, surface, lamp)


def _draw_head(canvas: Canvas, head: Head, whole: Surface, lamp: Lamp, hair: Hair | None) -> None:
    at = skin.clip_window(canvas.window, head)
    if at is None:
        return
    surface = Surface.of(head, at)
    face = Face.bare(head, surface)
    skin.draw_skin(face)
    hair_light = linear(
        palette.mix(head.portrait.hair_colour, (0.6, 0.6, 0.6), 0.75 * head.portrait.hair_grey)
    )
    beard.draw_beard(face, hair_light)
    features.draw_lips(face)
    features.draw_brows(face, hair_light * 0.6)
    sparkle = features.draw_eyes(face)
    n = normals(head, surface)
    light = lamp.on(*n)
    corner = 1 - 0.32 * np.exp(surface.distance / 0.09)
    if hair is not None:
        corner = corner * hair.shadow()[at.within(whole.at)]
    lit = face.albedo * light * corner
    lit += face.gloss * lamp.glint(*n, 14.0) * corner
    lit += sparkle
    cover = coverage(surface.distance, at.px)
    canvas.paint(at, cover, lit)
    inside = cover > 0.5
    canvas.labels[at.rows, at.columns][inside] = face.labels[inside]


def _reduce(canvas: Canvas, factor: int) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Mean light and most frequent label over squares of `factor` pixels."""
    if factor == 1:
        return canvas.light, canvas.labels
    size = canvas.labels.shape[0] // factor
    light = canvas.light.reshape(3, size, factor, size, factor).mean((2, 4))
    blocks = canvas.labels.reshape(size, factor, size, factor)
    counts = np.stack([(blocks == k).sum((1, 3)) for k in range(len(SEGMENTS))])
    return light, counts.argmax(0).astype(np.uint8)


def _in_pixels(points: Floats, crop: Crop, size_px: int) -> Floats:
    scale = size_px / crop.side
    out: Floats = ((points - np.array([crop.left, crop.top])) * scale - 0.5).astype(np.float32)
    return out


def check_whole(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless the value is an integer from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"expected {name} as a whole number from {low} to {high}, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"expected {name} from {low} to {high}, got {value}")
