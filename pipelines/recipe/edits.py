"""The sections of a recipe on edits, partners for fairness, and the export."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from invertory.pipelines.recipe.types import Format, Layers, Name, Names, Pixels, Section, distinct


class Edit(Section):
    """An attribute moved by one or more steps; an attribute has one edit."""

    attribute: Name
    """An attribute that has a boundary."""
    steps: Annotated[tuple[float, ...], AfterValidator(distinct), Field(min_length=1)]
    """Signed lengths along the unit normal; 3 is a strong edit in StyleGAN2's W."""
    unit: Literal["distance", "spread"] = "distance"
    """A step of 1 is a distance of 1 in W, or one standard deviation along the normal."""
    mode: Literal["relative", "absolute"] = "relative"
    """Steps from where the latent is, or to that distance from the boundary."""
    layers: Layers = "all"
    """Rows of W+ to move: `all`, or rows and ranges from 0, such as `0-3,8`."""


class Augmentation(Section):
    """Partners for fairness: the protected attribute flipped, the target kept."""

    method: str
    """Which of the recipe's methods gives the latents."""
    target: Name
    """The attribute that a classifier is to learn."""
    protected: Name
    """The attribute that the classifier must not depend on."""
    min_distance: float = Field(default=0.0, ge=0)
    """How far beyond the protected boundary, in W, a partner lies at least; 0 is the paper's mirror
    image, which moves a crop near the boundary too little to be seen."""
    keep: Names = ()
    """Further attributes whose normals are projected out of the move."""
    threshold: dict[Name, float] = Field(default_factory=dict)
    """Score from which an attribute's label is positive; by default its boundary's threshold."""


class ExportImage(Section):
    """Images of the exported set."""

    size_px: Pixels | None = None
    """Side; null keeps the size of the crops."""
    format: Format = "jpeg"
    """How they are stored."""


class Export(Section):
    """The form of the exported augmentation set."""

    formats: Annotated[
        tuple[Literal["webdataset", "imagefolder", "parquet"], ...],
        AfterValidator(distinct),
        Field(min_length=1),
    ] = ("webdataset", "imagefolder", "parquet")
    """Any of the three; the same samples in each."""
    counts: Annotated[
        Annotated[Literal["balanced", "all"], Tag("named")]
        | Annotated[
            dict[Literal["both", "target", "protected", "neither"], Annotated[int, Field(ge=0)]],
            Tag("cells"),
        ],
        Discriminator(lambda value: "cells" if isinstance(value, dict) else "named"),
    ] = "balanced"
    """`balanced`: the most for which all four groups (target x protected) are equal; `all`: every
    pair there is; or a number for each group, named by what is positive in it: both, target,
    protected, neither."""
    image: ExportImage = Field(default_factory=lambda: ExportImage())
    """Size and format of the images."""
