"""The contents of a gallery: crops with their results, rejects, and a summary.

Images are the bytes of image files in any format that Invertory reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class InversionShot:
    """A crop inverted by one method; `scores` by column name (psnr_db, ssim, ...).

    `maps` are the images of the inversion such as masks, by name.
    """

    method: str
    image: bytes
    scores: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EditShot:
    """An edit of the latent of `method`; `scores` are the attributes after the edit."""

    method: str
    attribute: str
    step: float
    image: bytes
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PartnerShot:
    """The partner computed with `method`; `caption` describes what was flipped and kept."""

    method: str
    image: bytes
    caption: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """A crop and its results."""

    crop_id: str
    uri: str
    aligned: bytes
    original: bytes | None = None
    original_px: tuple[int, int] | None = None  # width, height; measured if None
    quad: Sequence[float] | None = None  # TL, BL, BR, TR in px of the upright original
    scores: Mapping[str, float] = field(default_factory=dict)  # attributes of the crop
    inversions: Sequence[InversionShot] = ()
    edits: Sequence[EditShot] = ()
    partners: Sequence[PartnerShot] = ()


@dataclass(frozen=True, kw_only=True)
class RejectShot:
    """An input for which the table `stage` has no row."""

    stage: str
    uri: str
    status: str
    error: str
    image: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """A network that was used."""

    name: str
    kind: str
    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary above the crops. `methods`: method => metric => its value for every crop."""

    recipe: str
    description: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    models: Sequence[ModelLine] = ()
    methods: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    perceptual: str = "perceptual"  # name of the perceptual distance
