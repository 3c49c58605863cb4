"""The 68 landmarks in iBUG order, and the FFHQ crop that follows from them.

Order: Sagonas et al., "300 Faces in-the-Wild Challenge", 2013. Crop: Karras, Laine & Aila, "A
Style-Based Generator Architecture for Generative Adversarial Networks", 2019, appendix A. Landmarks
of features that turn away slide along the silhouette.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from invertory.portraits.head import Floats, Head

_JAW_ANGLES: Final = np.radians(np.linspace(-86, 86, 17))


@dataclass(frozen=True, slots=True)
class Crop:
    """A square in the plane of head coordinates."""

    left: float  # hu
    top: float
    side: float


def face_landmarks(head: Head) -> Floats:
    """68 landmarks (x, y) in head units as seen [68, 2]."""
    parts = [_jaw(head), _brows(head), _nose(head), _eyes(head), _mouth(head)]
    return np.concatenate(parts).astype(np.float32)


def ffhq_crop(head: Head, landmarks: Floats) -> Crop:
    """The crop of the FFHQ recipe for these landmarks, with the portrait's own jitter.

    Here the midpoints of eyes and mouth are vertically aligned to within a degree, so the crop is
    upright.
    """
    left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    eyes = (left + right) / 2
    to_mouth = (landmarks[48] + landmarks[54]) / 2 - eyes
    half = max(2.0 * math.hypot(*(right - left)), 1.8 * math.hypot(*to_mouth))
    centre = eyes + 0.1 * to_mouth
    p = head.portrait
    side = 2 * half * p.crop_scale
    return Crop(
        left=float(centre[0]) - side * (0.5 + p.crop_shift_x),
        top=float(centre[1]) - side * (0.5 + p.crop_shift_y),
        side=side,
    )


def _jaw(head: Head) -> Floats:
    """17 points from ear to chin to ear, denser towards the ears."""
    t = np.sin(_JAW_ANGLES)
    y = -0.05 + (head.chin - 0.03 + 0.05) * np.cos(_JAW_ANGLES) ** 0.8
    w = head.width(y)
    return head.project(np.stack([np.sign(t) * w * np.minimum(np.abs(t) * 20, 1) * 0.995, y], 1))


def brow_line(head: Head, t: Floats) -> Floats:
    """Row of the brow's centre line for t from -1 (inner end) to 1 (outer end)."""
    arch = head.brow_arch * (1 - (t - 0.25) ** 2)
    return head.brow_y + 0.03 - arch - head.brow_tilt * t + 0.03 * np.maximum(t, 0) ** 2


BROW_HALF: Final = 0.29  # half length in hu


def _brows(head: Head) -> Floats:
    t = np.linspace(1, -1, 5)
    y = brow_line(head, t)
    x = head.eye_x * 1.02 + BROW_HALF * t
    left = np.stack([-x, y], 1)
    right = np.stack([x[::-1], y[::-1]], 1)
    return head.project(np.concatenate([left, right]))


def _nose(head: Head) -> Floats:
    bridge_y = np.linspace(-0.02, head.nose_y - 0.09, 4)
    bridge = np.stack([np.zeros(4), bridge_y], 1)
    out = head.nose_out * np.linspace(0.25, 1.0, 4)
    x = head.nose_half * np.array([-0.75, -0.4, 0.0, 0.4, 0.75])
    y = head.nose_y + np.array([0.02, 0.045, 0.065, 0.045, 0.02])
    base = head.project(np.stack([x, y], 1), out=0.45 * head.nose_out)
    return np.concatenate([head.project(bridge, out=out), base])


def lid_curves(head: Head, t: Floats) -> tuple[Floats, Floats]:
    """Rows of the edges of upper and lower lid for t from -1 (inner) to 1 (outer corner)."""
    round_ = np.maximum(1 - t * t, 0.0)
    tilt = -head.eye_tilt * t * head.eye_half * 2
    upper = -head.eye_up * round_**0.72 * (1 + 0.12 * t) + tilt
    return upper, head.eye_down * round_**0.9 * (1 + 0.1 * t) + tilt


def _eyes(head: Head) -> Floats:
    t = np.array([1.0, 0.35, -0.35, -1.0, -0.35, 0.35])  # from the outer corner along the upper lid
    upper, lower = lid_curves(head, t)
    y = np.where(np.arange(6) < 4, upper, lower)
    x = head.eye_x + head.eye_half * t
    left = np.stack([-x, y], 1)
    order = [3, 2, 1, 0, 5, 4]  # the other eye starts at its inner corner
    right = np.stack([x, y], 1)[order]
    return head.project(np.concatenate([left, right]))


def lip_curves(head: Head, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Rows of the lips at column X: outer upper, inner upper, inner lower, outer lower edge."""
    m = head.mouth
    t = x / m.half_width
    round_ = np.maximum(1 - t * t, 0.0)
    line = m.line(x)
    bow = 1 - 0.22 * np.exp(-((t / 0.16) ** 2)) + 0.06 * np.exp(-(((np.abs(t) - 0.3) / 0.2) ** 2))
    inner_up = line - m.open_up * round_**0.8
    inner_down = line + m.open_down * round_**0.8
    upper = inner_up - m.upper * round_**0.75 * bow
    return upper, inner_up, inner_down, inner_down + m.lower * round_**0.62


def _mouth(head: Head) -> Floats:
    outer = head.mouth.half_width * np.array([-1, -0.62, -0.25, 0, 0.25, 0.62, 1])
    inner = head.mouth.half_width * np.array([-0.85, -0.4, 0, 0.4, 0.85])
    upper, _, _, lower = lip_curves(head, outer)
    _, in_up, in_down, _ = lip_curves(head, inner)
    line = head.mouth.line(outer)
    upper[[0, -1]] = lower[[0, -1]] = line[[0, -1]]
    points = [(outer, upper), (outer[5:0:-1], lower[5:0:-1])]
    points += [(inner, in_up), (inner[3:0:-1], in_down[3:0:-1])]
    return head.project(np.concatenate([np.stack(pair, 1) for pair in points]))
