"""What a gallery shows: crops and what became of them, rejects, and the facts above them.

Images are whole files, of any format that the chain reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class InversionShot:
    """A crop inverted by one method; `scores` by the names of the table (psnr_db, ssim, ...).

    `maps` are its masks and the like, by name.
    """

    method: str
    image: bytes
    scores: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EditShot:
    """The crop's latent of `method` moved; `scores` are the attributes after the move."""

    method: str
    attribute: str
    step: float
    image: bytes
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PartnerShot:
    """The partner that `method` gave; `caption` says what was flipped and what was kept."""

    method: str
    image: bytes
    caption: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """A crop and what became of it."""

    crop_id: str
    uri: str
    aligned: bytes
    original: bytes | None = None
    original_px: tuple[int, int] | None = None  # width, height; measured where it is absent
    quad: Sequence[float] | None = None  # TL, BL, BR, TR in px of the upright original
    scores: Mapping[str, float] = field(default_factory=dict)  # attributes of the crop
    inversions: Sequence[InversionShot] = ()
    edits: Sequence[EditShot] = ()
    partners: Sequence[PartnerShot] = ()


@dataclass(frozen=True, kw_only=True)
class RejectShot:
    """An input that gave nothing in the table `stage`."""

    stage: str
    uri: str
    status: str
    error: str
    image: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """A network that took part."""

    name: str
    kind: str
    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What stands above the crops. `methods`: method => metric => its value for every crop."""

    recipe: str
    description: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    models: Sequence[ModelLine] = ()
    methods: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    perceptual: str = "perceptual"  # which network measured it
