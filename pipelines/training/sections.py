"""The parts of a training: every key it may have, its type, range, unit and default."""

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

BOTH: Final = "images and pairs"  # pictures of one's own beside what the generator draws


class Portraits(Section):
    """Procedural portraits, drawn here with their attributes, segmentations and landmarks."""

    name: Name = "portraits"
    """What this set is called beside others."""
    num: int = Field(ge=16, le=10_000_000)
    """Portraits, those among them that the trainer holds out."""
    size_px: Pixels = 64
    """Side of a portrait."""
    seed: int = Field(default=0, ge=0)
    """Portrait i is a function of the seed and i."""
    world: Parameters = Field(default_factory=dict)
    """How it is drawn (`invertory.portraits.World`): rates, correlations, ood, background."""
    share: float = Field(default=1.0, gt=0)
    """Weight of this set in a batch, beside the others'."""


class Images(Section):
    """Pictures of one's own, cropped as a recipe crops them."""

    uris: Annotated[
        tuple[Uri, ...],
        BeforeValidator(one_or_more),
        AfterValidator(distinct),
        Field(min_length=1, alias="uri"),
    ]
    """A folder, archive or address, as in a recipe's collection; or a list of such."""
    pattern: str | None = None
    """A glob that names must match, such as `*.jpg`."""
    alignment: Alignment = Alignment(kind="centre", size_px=64)
    """How a picture becomes crops."""
    limits: Limits = Limits()
    """What is refused when a file is read."""
    share: float | None = Field(default=None, gt=0)
    """Weight of these pictures beside pairs, where a trainer takes both; null: 1."""


class Pairs(Section):
    """Latents, and the pictures that the generator in `uses` makes of them."""

    num: int = Field(ge=16, le=10_000_000)
    """Pairs, those among them that the trainer holds out."""
    size_px: Pixels = 64
    """Side of a picture."""
    draws: Parameters = Field(default_factory=dict)
    """Which latents are drawn (see `Draws`): seed, truncation, mixing."""
    share: float | None = Field(default=None, gt=0)
    """Weight of these pictures beside images, where a trainer takes both; null: 1."""


Sets = Annotated[
    tuple[Portraits, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, dict | Portraits) else value),
    Field(min_length=1),
]


class Data(Section):
    """What is trained on: one of three kinds, or images and pairs."""

    portraits: Sets | None = None
    """Procedural portraits: one set, or a list of such with their shares."""
    images: Images | None = None
    """Pictures of one's own."""
    pairs: Pairs | None = None
    """Draws from a generator."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Data":
        if self.kind not in ("portraits", "images", "pairs", BOTH):
            given = self._given or "none"
            raise ValueError(f"expected one of portraits, images, pairs, got {given}")
        return self

    @property
    def kind(self) -> str:
        """Which of the three, or "images and pairs"."""
        return " and ".join(self._given)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of portraits' sets, or of pairs and images, in the order in which trainers get them."""
        if self.portraits:
            return tuple(one.share for one in self.portraits)
        if self.kind != BOTH:
            return ()
        return tuple((one and one.share) or 1.0 for one in (self.pairs, self.images))

    @property
    def _given(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


class Budget(Section):
    """How long is trained, and how often something is kept of it; all in images."""

    images: int = Field(ge=1)
    """Pictures shown in all; a picture counts as often as it is shown."""
    batch_size: int | None = Field(default=None, ge=1)
    """Pictures of one step; null takes the trainer's default."""
    checkpoint_every: int = Field(default=20_000, ge=1)
    """Images after which a kill costs nothing that lies before."""
    evaluate_every: int = Field(default=50_000, ge=1)
    """Images between two measurements on held-out data, each with a sheet of samples."""
    log_every: int = Field(default=2000, ge=1)
    """Images between two lines of the log."""


class TrainingResources(Section):
    """What a training may use; no part of what it makes."""

    device: Device = "auto"
    """`auto` takes an accelerator where there is one."""
    precision: Precision | Literal["auto"] = "auto"
    """Of forward passes; `auto` takes bfloat16 where the hardware multiplies it fast."""
    processes: int = Field(default=0, ge=0)
    """Processes that draw portraits; 0: one for each core."""
    retries: int = Field(default=1, ge=0)
    """How often a failed run is tried again; it goes on where it stopped."""
