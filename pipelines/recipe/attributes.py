"""The sections of a recipe on attributes: what scores an image, and the planes between scores."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from invertory.pipelines.recipe.types import Digest, Names, Pixels, Section, Uri, empty_if_null


class MediapipeScorer(Section):
    """Scores of MediaPipe's face landmarker: blendshapes and head pose."""

    TAGS: ClassVar = ("mediapipe",)
    scorer: Literal["mediapipe"]
    score: str | None = None
    """MediaPipe's name of the score; null takes the name of the attribute."""


class ClassifierScorer(Section):
    """Probabilities of one of our attribute classifiers, bundled or trained on this host."""

    TAGS: ClassVar = ("classifier",)
    scorer: Literal["classifier"]
    weights: Uri = "bundled://portraits_classifier"
    """Address of the classifier, its card beside it."""
    sha256: Digest | None = None
    """Digest that the weights must have; null takes that of the card."""
    score: str | None = None
    """The classifier's name of the attribute; null takes the name here."""


class LabelScorer(Section):
    """A column of a table that comes with the collection; edited images have no such score."""

    TAGS: ClassVar = ("labels",)
    scorer: Literal["labels"]
    uri: Uri | None = None
    """Address of a CSV or Parquet file, or CelebA's .txt; null takes the attributes
    that a portraits:// collection draws its images by."""
    sha256: Digest | None = None
    """Digest that the file must have."""
    column: str | None = None
    """Numbers or true and false; null takes the name of the attribute."""
    key: str | None = None
    """Column with the file names, or ends of paths; null takes one called file, file_name,
    filename, image or image_id, or else the first."""


class NetworkScorer(Section):
    """A classifier of the user's, as ONNX; or as TorchScript, which runs its own code."""

    TAGS: ClassVar = ("onnx", "torchscript")
    scorer: Literal["onnx", "torchscript"]
    uri: Uri
    """Address of the file."""
    sha256: Digest
    """Digest that the file must have."""
    size_px: Pixels = 224
    """Side of the network's input images."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Is subtracted from RGB in [0, 1]; ImageNet's by default."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides the result; ImageNet's by default."""
    output: int = Field(default=0, ge=0)
    """Which of the network's outputs is the score, from 0."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels that the network takes."""
    activation: Literal["sigmoid", "softmax", "none"] = "none"
    """Is applied to the outputs before one is taken."""


class FittedBoundary(Section):
    """A hyperplane between high and low scores (InterFaceGAN)."""

    TAGS: ClassVar = ("fitted",)
    fit: Literal["samples", "collection"] = "samples"
    """On samples of the generator in W, or on the inverted crops of the collection."""
    num_samples: int = Field(default=2000, ge=20, le=1_000_000)
    """Samples to score; only for `samples`. All boundaries share the largest number."""
    solver: Literal["svc", "linear", "logistic"] = "svc"
    """Support vectors as in the paper, a linear solver for many rows, or logistic regression."""
    selection: Literal["extremes", "threshold"] = "extremes"
    """Fit on both ends of the scores, or on every row, labelled by the threshold."""
    ratio: float = Field(default=0.02, gt=0, le=0.5)
    """Share of the rows at either end; only for `extremes`."""
    threshold: float | None = None
    """Score from which a label is positive; null takes the middle of the scores' range."""
    conditions: Names = ()
    """Attributes whose normals are projected out of this one."""


class ImportedBoundary(Section):
    """A published boundary or direction."""

    TAGS: ClassVar = ("imported",)
    fit: ClassVar[Literal["import"]] = "import"
    uri: Uri = Field(alias="import")
    """Address of the file, such as directions/age.pt."""
    component: int | None = Field(default=None, ge=0)
    """Which direction, where the file has several."""
    calibrate: Literal["samples", "collection"] | None = None
    """Whose scores place the plane; null leaves a direction, enough for edits."""
    num_samples: int = Field(default=2000, ge=20, le=1_000_000)
    """Samples to score; only to calibrate on `samples`."""


def _imports(value: Any) -> bool:
    return isinstance(value, ImportedBoundary) or (isinstance(value, dict) and "import" in value)


Attribute = Annotated[
    MediapipeScorer | ClassifierScorer | LabelScorer | NetworkScorer, Field(discriminator="scorer")
]
Boundary = Annotated[
    Annotated[FittedBoundary, Tag("fitted")] | Annotated[ImportedBoundary, Tag("imported")],
    Discriminator(lambda value: "imported" if _imports(value) else "fitted"),
    BeforeValidator(empty_if_null),
]
