"""The sections of a training: every key, its type, range, unit and default."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from invertory.pipelines.recipe.sections import Alignment, Limits
from invertory.pipelines.recipe.types import (
    Device,
    Name,
    Parameters,
    Pixels,
    Section,
    Uri,
    distinct,
    one_or_more,
)
from invertory.precision import Precision

BOTH: Final = "images and pairs"  # the user's images beside those of the generator


class Portraits(Section):
    """Procedural portraits with their attributes, segmentations and landmarks."""

    name: Name = "portraits"
    """Name of the set among several."""
    num: int = Field(ge=16, le=10_000_000)
    """Number of portraits, held-out ones included."""
    size_px: Pixels = 64
    """Side of a portrait."""
    seed: int = Field(default=0, ge=0)
    """Portrait i is a function of the seed and i."""
    world: Parameters = Field(default_factory=dict)
    """How it is drawn (`invertory.portraits.World`): rates, correlations, ood, background."""
    share: float = Field(default=1.0, gt=0)
    """Weight of this set in a batch, beside the others'."""


class Images(Section):
    """The user's images, cropped as in a recipe."""

    uris: Annotated[
        tuple[Uri, ...],
        BeforeValidator(one_or_more),
        AfterValidator(distinct),
        Field(min_length=1, alias="uri"),
    ]
    """A folder, archive or address, as in a recipe's collection; or a list of these."""
    pattern: str | None = None
    """A glob that names must match, such as `*.jpg`."""
    alignment: Alignment = Alignment(kind="centre", size_px=64)
    """How an image becomes crops."""
    limits: Limits = Limits()
    """Files that are refused when they are read."""
    share: float | None = Field(default=None, gt=0)
    """Weight of these images in a batch beside pairs, where a trainer takes both; null: 1."""


class Pairs(Section):
    """Latents, and the images that the generator in `uses` makes of them."""

    num: int = Field(ge=16, le=10_000_000)
    """Number of pairs, held-out ones included."""
    size_px: Pixels = 64
    """Side of an image."""
    draws: Parameters = Field(default_factory=dict)
    """Which latents are drawn (see `Draws`): seed, truncation, mixing."""
    share: float | None = Field(default=None, gt=0)
    """Weight of pairs in a batch beside images, where a trainer takes both; null: 1."""


Sets = Annotated[
    tuple[Portraits, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, dict | Portraits) else value),
    Field(min_length=1),
]


class Data(Section):
    """The training data: one of three kinds, or images and pairs."""

    portraits: Sets | None = None
    """Procedural portraits: one set, or a list of sets with their shares."""
    images: Images | None = None
    """The user's images."""
    pairs: Pairs | None = None
    """Samples of a generator."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Data":
        if self.kind not in ("portraits", "images", "pairs", BOTH):
            kinds = self._kinds or "none"
            raise ValueError(f"expected one of portraits, images, pairs, got {kinds}")
        return self

    @property
    def kind(self) -> str:
        """Which of the three, or "images and pairs"."""
        return " and ".join(self._kinds)

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the sets of portraits, or of pairs and images, in the order of the trainers."""
        if self.portraits:
            return tuple(one.share for one in self.portraits)
        if self.kind != BOTH:
            return ()
        return tuple((one and one.share) or 1.0 for one in (self.pairs, self.images))

    @property
    def _kinds(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


class Budget(Section):
    """How long to train, and how often to save and measure; all in images."""

    images: int = Field(ge=1)
    """Images shown in total; an image counts as often as it is shown."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images per step; null takes the trainer's default."""
    checkpoint_every: int = Field(default=20_000, ge=1)
    """Images between two checkpoints; a killed run resumes from the last one."""
    evaluate_every: int = Field(default=50_000, ge=1)
    """Images between two evaluations on held-out data, each with a sheet of samples."""
    log_every: int = Field(default=2000, ge=1)
    """Images between two lines of the log."""


class TrainingResources(Section):
    """What a training may use; it does not change the key of its networks."""

    device: Device = "auto"
    """`auto` takes an accelerator where there is one."""
    precision: Precision | Literal["auto"] = "auto"
    """Of forward passes; `auto` takes bfloat16 where the hardware multiplies it fast."""
    processes: int = Field(default=0, ge=0)
    """Processes that draw portraits; 0: one for each core."""
    retries: int = Field(default=1, ge=0)
    """How often a failed run is retried; it resumes from its last checkpoint."""
