"""FFHQ alignment: from a face's landmarks to the crop that generators are trained on, and back.

Karras, Laine & Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks",
2019, https://arxiv.org/abs/1812.04948, appendix A. Written from a description of the recipe; the
tests compare it with the recipe's reference images. It differs in three ways: the quad is computed
from four points, pixels are sampled at a size that depends on the crop (`transform_size`; the
official one is 4096), and the crop comes with the affine map back into the photograph.

Convention: a point (x, y) counts pixel centres, so (0, 0) is the middle of the top left pixel; y
points down; `left` is left in the image. Angles are in degrees, clockwise as seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from invertory.images import Pixels, resize

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crop:
    """A square cut from a photograph, and its position there."""

    pixels: Pixels  # [size, size, 3] uint8
    quad: Points  # [4, 2] TL, BL, BR, TR in the photograph
    crop_to_source: Points  # [2, 3]; source = crop_to_source @ (x, y, 1)
    roll_deg: float
    outside_share: float  # share of the quad's area outside the photograph


def anchors_from_landmarks(landmarks: Points) -> Points:
    """68 points in iBUG order [68, 2] => anchors [4, 2]: eye centres, mouth corners.

    Raises `ValueError` for another shape.
    """
    if landmarks.shape != (68, 2):
        raise ValueError(f"expected landmarks [68, 2] in iBUG order, got {list(landmarks.shape)}")
    eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    return np.stack([*eyes, landmarks[48], landmarks[54]])


def face_quad(anchors: Points, *, rotate_level: bool = True) -> Points:
    """Anchors [4, 2] (left eye, right eye, left and right mouth corner) => quad [4, 2].

    Without `rotate_level` the crop stays upright and the face keeps its roll. Raises `ValueError`
    for other shapes or non-finite anchors.
    """
    if anchors.shape != (4, 2) or not np.isfinite(anchors).all():
        raise ValueError(f"expected four finite anchors [4, 2], got {anchors.tolist()}")
    eye_to_eye = anchors[1] - anchors[0]
    eye_centre = anchors[:2].mean(0)
    eye_to_mouth = anchors[2:].mean(0) - eye_centre
    # x: half the crop's side, along the eyes; y: the same, downwards; c: the crop's centre
    x = eye_to_eye - _turn(eye_to_mouth) if rotate_level else np.array([1.0, 0.0])
    x /= np.hypot(*x)
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    y = _turn(x)
    c = eye_centre + 0.1 * eye_to_mouth
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def align_face(
    image: Pixels,
    anchors: Points,
    *,
    size_px: int,
    transform_size: int | None = None,
    enable_padding: bool = True,
    rotate_level: bool = True,
) -> Crop:
    """Cut the FFHQ crop [size_px, size_px, 3] of the face with these anchors.

    The quad is sampled at `transform_size` pixels a side and then reduced to `size_px`: 4096 is
    official, and `size_px` gives the aliased crops of e4e and pSp. The default, four times the crop
    but at most 2048, differs from the official pixels by a mean of 0.1 to 0.2 and a maximum of 3
    (of 255), in a quarter to a tenth of the time. Raises `ValueError` if the face is smaller than 1
    px.
    """
    quad = face_quad(anchors, rotate_level=rotate_level)
    side = float(np.hypot(*(quad[3] - quad[0])))
    if side < 1:
        raise ValueError(f"expected a face of at least 1 px, got a quad of {side:.3g} px")
    shrink = int(np.floor(side / size_px * 0.5))
    work, moved = _shrink(image, quad, shrink) if shrink > 1 else (image, quad)
    work_side = float(np.hypot(*(moved[3] - moved[0])))
    border = max(int(np.rint(0.1 * work_side)), 3)
    work, moved = _cut(work, moved, border)
    if enable_padding:
        work, moved = _pad(work, moved, border, work_side)
    sampled_px = transform_size or max(min(4 * size_px, 2048), size_px)
    crop = _sample(work, moved, sampled_px, size_px)
    return _crop(image, crop, quad, shift=(max(shrink, 1) - 1) / 2)


def centre_crop(image: Pixels, *, size_px: int) -> Crop:
    """Cut the largest centred square, antialiased to [size_px, size_px, 3].

    For images without faces.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    x0, y0 = left - 0.5, top - 0.5  # edges, counted from pixel centres
    corners = [[x0, y0], [x0, y0 + side], [x0 + side, y0 + side], [x0 + side, y0]]
    quad = np.array(corners)
    return _crop(image, resize(square, size_px, size_px), quad)


def outside_share(quad: Points, width: int, height: int) -> float:
    """Share of the quad's area that lies outside a photograph of this size, in [0, 1]."""
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - np.float32(
        0.5
    )
    area, _ = cv2.intersectConvexConvex(quad.astype(np.float32), frame)
    whole = float(np.hypot(*(quad[3] - quad[0])) * np.hypot(*(quad[1] - quad[0])))
    return round(min(max(1 - area / whole, 0.0), 1.0), 6)  # the areas are float32


def paste_back(
    source: Pixels,
    crop: Pixels,
    crop_to_source: Points,
    *,
    feather: float = 0.1,
    original: Pixels | None = None,
) -> Pixels:
    """Paste an edited crop [S, S, 3] into a copy of its photograph [H, W, 3].

    The seam fades over `feather` (a share of the crop's side); nothing outside the quad changes.
    With `original`, the crop before the edit, only the difference is added, so the photograph keeps
    its detail and an unedited crop changes nothing. Raises `ValueError` if `feather` is not in [0,
    0.5].
    """
    if not 0 <= feather <= 0.5:
        raise ValueError(
            f"expected feather, a share of the crop's side, in [0, 0.5], got {feather}"
        )
    size = crop.shape[0]
    corners = np.array([[-0.5, size - 0.5, size - 0.5, -0.5], [-0.5, -0.5, size - 0.5, size - 0.5]])
    hull = crop_to_source @ np.vstack([corners, np.ones(4)])  # [2, 4]
    height, width = source.shape[:2]
    x0, y0 = np.clip(np.floor(hull.min(1)), 0, [width, height]).astype(int)
    x1, y1 = np.clip(np.ceil(hull.max(1)) + 1, 0, [width, height]).astype(int)
    pasted = source.copy()
    if x1 <= x0 or y1 <= y0:
        return pasted
    u, v = _crop_coordinates(crop_to_source, x0, y0, x1, y1)
    alpha = _feather(u, v, size, feather)[..., None]
    under = source[y0:y1, x0:x1].astype(np.float32)
    scale = float(np.sqrt(abs(np.linalg.det(crop_to_source[:, :2]))))  # source px per crop px
    over = _warp(crop, u, v, scale)
    if original is not None:
        over = under + over - _warp(original, u, v, scale)
    blended = np.rint(under + alpha * (over - under)).clip(0, 255).astype(np.uint8)
    pasted[y0:y1, x0:x1] = np.where(alpha > 0, blended, source[y0:y1, x0:x1])
    return pasted


def _turn(vector: Points) -> Points:
    """Rotate by 90 degrees, clockwise as seen."""
    return np.array([-vector[1], vector[0]])


def _box(quad: Points) -> tuple[int, int, int, int]:
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _shrink(image: Pixels, quad: Points, factor: int) -> tuple[Pixels, Points]:
    height, width = image.shape[:2]
    small = resize(image, int(np.rint(width / factor)), int(np.rint(height / factor)))
    return small, quad / factor


def _cut(image: Pixels, quad: Points, border: int) -> tuple[Pixels, Points]:
    """Cut to the quad and its border, so that later steps process no other pixels."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = _box(quad)
    left, top = min(max(x0 - border, 0), width - 1), min(max(y0 - border, 0), height - 1)
    right, bottom = max(min(x1 + border, width), left + 1), max(min(y1 + border, height), top + 1)
    return image[top:bottom, left:right], quad - np.array([left, top])


def _pad(image: Pixels, quad: Points, border: int, side: float) -> tuple[Pixels, Points]:
    """Pad where the quad overhangs: reflect, then blur and fade to the median towards the edges."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = _box(quad)
    overhang = (border - x0, border - y0, x1 - width + border, y1 - height + border)
    if max(overhang) <= border - 4:
        return image, quad
    left, top, right, bottom = (max(p, int(np.rint(side * 0.3))) for p in overhang)
    padding = ((top, bottom), (left, right), (0, 0))
    padded = np.pad(
        image.astype(np.float32), padding, "reflect" if min(width, height) > 1 else "edge"
    )
    rows, columns = np.ogrid[: padded.shape[0], : padded.shape[1]]
    # 0 inside the photograph's rim, 1 at the padded image's edge
    across = np.minimum(
        np.float32(columns) / left, np.float32(padded.shape[1] - 1 - columns) / right
    )
    down = np.minimum(np.float32(rows) / top, np.float32(padded.shape[0] - 1 - rows) / bottom)
    mask = np.maximum(1 - across, 1 - down)[..., None]
    blurred = gaussian_filter(padded, [side * 0.02, side * 0.02, 0])
    padded += (blurred - padded) * np.clip(3 * mask + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(mask, 0, 1)
    return np.rint(padded).clip(0, 255).astype(np.uint8), quad + np.array([left, top])


def _sample(image: Pixels, quad: Points, transform_size: int, size_px: int) -> Pixels:
    """Sample the quad bilinearly at `transform_size`, then antialias to `size_px`."""
    corners = tuple((quad + 0.5).ravel().tolist())
    square = Image.fromarray(image).transform(
        (transform_size, transform_size),
        Image.Transform.QUAD,
        corners,
        Image.Resampling.BILINEAR,
    )
    return resize(np.asarray(square), size_px, size_px)


def _crop(image: Pixels, pixels: Pixels, quad: Points, shift: float = 0.0) -> Crop:
    """Build the crop with its affine map; `shift` is in px.

    The recipe divides pixel-centre coordinates by the shrink factor without correction, so its
    samples lie (factor - 1) / 2 px to the right of and below the quad.
    """
    size = pixels.shape[0]
    x, y = (quad[3] - quad[0]) / size, (quad[1] - quad[0]) / size  # one crop pixel in the source
    affine = np.stack([x, y, quad[0] + 0.5 * (x + y) + shift], axis=1)
    roll = float(np.degrees(np.arctan2(x[1], x[0])))
    return Crop(pixels, quad, affine, roll, outside_share(quad, image.shape[1], image.shape[0]))


def _crop_coordinates(
    crop_to_source: Points, x0: int, y0: int, x1: int, y1: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Crop coordinates of each source pixel of the box: (u, v), each [y1 - y0, x1 - x0]."""
    inverse = np.linalg.inv(np.vstack([crop_to_source, [0, 0, 1]]))
    y, x = np.mgrid[y0:y1, x0:x1]
    u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    return u.astype(np.float32), v.astype(np.float32)


def _feather(
    u: npt.NDArray[np.float32], v: npt.NDArray[np.float32], size: int, feather: float
) -> npt.NDArray[np.float32]:
    """0 outside the crop, rising smoothly to 1 over `feather` of its side."""
    inside = np.minimum(np.minimum(u, size - 1 - u), np.minimum(v, size - 1 - v)) + 0.5  # px
    ramp = np.clip(inside / max(feather * size, 1e-6), 0, 1)
    # smoothstep, 3 t^2 - 2 t^3
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def _warp(
    crop: Pixels, u: npt.NDArray[np.float32], v: npt.NDArray[np.float32], scale: float
) -> npt.NDArray[np.float32]:
    """Sample the crop at these places, float32 in 0..255.

    The crop is reduced first if the source is coarser.
    """
    size = crop.shape[0]
    small = max(round(size * scale), 1)
    if small < size:
        crop = resize(crop, small, small)
        u, v = ((p + 0.5) * (small / size) - 0.5 for p in (u, v))
    warped = cv2.remap(
        crop.astype(np.float32), u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.float32)
