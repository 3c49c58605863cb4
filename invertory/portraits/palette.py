"""The colours of portraits: sRGB in [0, 1], a few of each kind, with small jitter."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]

# Monk skin tone scale, tones 1 to 10 (Ellis Monk and Google, 2022, https://skintone.google).
MONK: Final = (
    (0.965, 0.929, 0.894),
    (0.953, 0.906, 0.859),
    (0.969, 0.918, 0.816),
    (0.918, 0.855, 0.729),
    (0.843, 0.741, 0.588),
    (0.627, 0.494, 0.337),
    (0.510, 0.361, 0.263),
    (0.376, 0.255, 0.204),
    (0.227, 0.192, 0.165),
    (0.161, 0.141, 0.125),
)
# The scale consists of swatches; living skin is ruddier at both ends.
BLOOD: Final = (
    (0.935, 0.800, 0.730),
    (0.915, 0.770, 0.680),
    (0.900, 0.745, 0.630),
    (0.865, 0.690, 0.560),
    (0.800, 0.605, 0.460),
    (0.660, 0.470, 0.330),
    (0.535, 0.360, 0.255),
    (0.465, 0.302, 0.215),
    (0.41, 0.265, 0.195),
    (0.345, 0.222, 0.172),
)
DARK_HAIR: Final = ((0.075, 0.06, 0.055), (0.11, 0.08, 0.065), (0.16, 0.105, 0.075))
BROWN_HAIR: Final = ((0.24, 0.15, 0.095), (0.32, 0.205, 0.125), (0.41, 0.28, 0.175))
RED_HAIR: Final = ((0.47, 0.2, 0.1), (0.62, 0.31, 0.15))
BLOND_HAIR: Final = ((0.68, 0.52, 0.31), (0.78, 0.64, 0.42), (0.86, 0.76, 0.56))
GREY_HAIR: Final = (0.72, 0.72, 0.72)
BROWN_EYES: Final = ((0.22, 0.13, 0.08), (0.32, 0.19, 0.1), (0.42, 0.29, 0.15))
LIGHT_EYES: Final = ((0.33, 0.48, 0.62), (0.42, 0.55, 0.62), (0.36, 0.47, 0.32), (0.5, 0.44, 0.26))
LIPSTICKS: Final = (
    (0.70, 0.10, 0.16),
    (0.60, 0.10, 0.22),
    (0.78, 0.28, 0.32),
    (0.66, 0.22, 0.36),
    (0.48, 0.08, 0.14),
)
EYESHADOWS: Final = ((0.45, 0.28, 0.36), (0.34, 0.3, 0.42), (0.5, 0.34, 0.24), (0.28, 0.34, 0.4))
FRAMES: Final = (
    (0.07, 0.06, 0.06),
    (0.07, 0.06, 0.06),
    (0.3, 0.17, 0.1),
    (0.62, 0.5, 0.25),
    (0.5, 0.5, 0.53),
    (0.45, 0.08, 0.1),
    (0.1, 0.14, 0.32),
)
TINTS: Final = ((0.05, 0.05, 0.06), (0.12, 0.08, 0.05), (0.06, 0.09, 0.12), (0.08, 0.1, 0.07))
METALS: Final = ((0.92, 0.8, 0.45), (0.9, 0.9, 0.93), (0.95, 0.93, 0.88))
SHIRTS: Final = (
    (0.2, 0.24, 0.36),
    (0.13, 0.14, 0.16),
    (0.86, 0.86, 0.85),
    (0.5, 0.16, 0.18),
    (0.32, 0.42, 0.36),
    (0.42, 0.5, 0.62),
    (0.6, 0.52, 0.42),
    (0.45, 0.33, 0.44),
    (0.36, 0.36, 0.38),
    (0.66, 0.55, 0.3),
)
BACKGROUNDS: Final = (
    (0.62, 0.65, 0.68),
    (0.50, 0.54, 0.58),
    (0.68, 0.64, 0.58),
    (0.48, 0.52, 0.46),
    (0.56, 0.50, 0.48),
    (0.38, 0.41, 0.46),
    (0.74, 0.74, 0.73),
    (0.44, 0.50, 0.58),
    (0.58, 0.60, 0.52),
    (0.34, 0.32, 0.32),
)
VIVID: Final = (
    (0.72, 0.16, 0.18),
    (0.16, 0.34, 0.62),
    (0.2, 0.5, 0.3),
    (0.85, 0.65, 0.2),
    (0.42, 0.22, 0.5),
    (0.12, 0.12, 0.14),
    (0.85, 0.84, 0.8),
    (0.55, 0.38, 0.24),
)


def linear(colour: Colour | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """sRGB => linear light [3], with a gamma of 2."""
    return np.square(np.asarray(colour, np.float32))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour and the rest of the first."""
    r, g, b = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return r, g, b


def jitter(colour: Colour, brightness: float, tint: float = 0.0) -> Colour:
    """The colour times `brightness`, with red and blue shifted apart by `tint`."""
    factors = (brightness * (1 + tint), brightness, brightness * (1 - tint))
    r, g, b = (min(max(c * f, 0.0), 1.0) for c, f in zip(colour, factors, strict=True))
    return r, g, b


def skin(monk: float, warmth: float) -> Colour:
    """The skin colour for a Monk tone from 1 to 10; `warmth` in standard deviations."""
    at = monk - 1
    low = min(int(at), 8)
    tone = mix(MONK[low], MONK[low + 1], at - low)
    blood = mix(BLOOD[low], BLOOD[low + 1], at - low)
    red, green, blue = mix(tone, blood, 0.72)
    return (min(red * (1 + 0.008 * warmth), 1.0), green * (1 - 0.012 * warmth), blue)
