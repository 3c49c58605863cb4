"""A training: one YAML file that declares how networks are made, validated before anything runs.

`load_training` returns a frozen `TrainingSpec`, or raises a `RecipeError` that names every mistake
with its line. Trainings lie in `trainings/`, or in the folder that `INVERTORY_TRAININGS` names.
With `is_thorough=False` the checks are left out that import trainers, and so torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, ValidationError

from invertory.pipelines.recipe.errors import RecipeError, document_at, problems_of
from invertory.pipelines.recipe.types import Name, Owner, Parameters, Section, Uri, empty_if_null
from invertory.pipelines.recipe.yaml_lines import Document, Problem
from invertory.pipelines.training.sections import Budget, Data, TrainingResources
from invertory.pipelines.training.validate import cross_check

TRAININGS: Final = Path(__file__).resolve().parents[2] / "trainings"
OURS: Final = "Apache-2.0"


class TrainingSpec(Section):
    """One training. Only `name`, `trainer` and `budget` are required."""

    WHOLE: ClassVar = "the training"
    name: Name
    """Name of the asset models/<name> and of the network, unless `gives` says otherwise."""
    description: str = ""
    """One sentence for the reader."""
    owner: Owner = "team:invertory"
    """Who answers for the asset: an e-mail address or `team:name`."""
    trainer: str
    """A name of `invertory.pipelines.training.trainers.TRAINERS`."""
    data: Data | None = None
    """The training data; absent for trainers that draw everything from a generator."""
    settings: Parameters = Field(default_factory=dict)
    """Settings of the trainer and sizes of its networks; others have the trainer's defaults."""
    uses: Annotated[dict[Name, Uri], BeforeValidator(empty_if_null)] = Field(default_factory=dict)
    """Other networks that it uses, by kind, such as `generator: trained://portraits_generator`."""
    gives: Annotated[dict[Name, Name], BeforeValidator(empty_if_null)] = Field(default_factory=dict)
    """Names of the networks that it makes, by kind; absent: the first one has the training's name
    and the others are not kept."""
    licence: str = OURS
    """What may be done with the weights."""
    provenance: str = ""
    """Where they come from, for their cards; the default says that they were trained here."""
    budget: Budget
    """How long to train."""
    resources: TrainingResources = TrainingResources()
    """What a run may use."""

    def as_row(self) -> dict[str, Any]:
        """The training's row in a listing."""
        return {
            "training": self.name,
            "trainer": self.trainer,
            "data": self.data.kind if self.data else "none",
            "gives": self.named,
            "uses": self.uses,
            "images": self.budget.images,
            "description": self.description,
        }

    @property
    def named(self) -> dict[str, str]:
        """kind => name of each network that is kept."""
        from invertory.pipelines.training.trainers import TRAINERS

        return self.gives or {TRAINERS[self.trainer].gives[0]: self.name}


def trainings_folder() -> Path:
    """`INVERTORY_TRAININGS` (default: those of the repository)."""
    return Path(os.environ.get("INVERTORY_TRAININGS", TRAININGS))


def load_training(path: str | Path, *, is_thorough: bool = True) -> TrainingSpec:
    """Read and validate the training at `path`; raises RecipeError with every mistake in it."""
    path = Path(path)
    spec, problems = _validated(document_at(path, "training"), is_thorough=is_thorough)
    if spec is None or problems:
        raise RecipeError(path, problems)
    return spec


def changed(
    spec: TrainingSpec, *, images: int | None, device: str | None, uses: dict[str, str]
) -> TrainingSpec:
    """The same with another budget, device, or other networks, validated anew."""
    values = spec.model_dump(exclude_unset=True)  # addresses keep the text they open by
    if images is not None:
        values["budget"]["images"] = images
    if device is not None:
        values.setdefault("resources", {})["device"] = device
    if uses:
        values["uses"] = {**values.get("uses", {}), **uses}
    path = Path("command line")
    new, problems = _validated(Document(_as_read(values), {}, []), is_thorough=True)
    if new is None or problems:
        raise RecipeError(path, [Problem(0, problem.text) for problem in problems])
    return new


def _as_read(value: Any) -> Any:
    """Lists as a YAML document has them: tuples."""
    if isinstance(value, dict):
        return {key: _as_read(item) for key, item in value.items()}
    return tuple(map(_as_read, value)) if isinstance(value, list | tuple) else value


def all_trainings(
    folder: Path | None = None, *, is_thorough: bool = True
) -> list[tuple[Path, TrainingSpec | RecipeError]]:
    """Every training of the folder by file name; a broken one hides no other."""
    found: list[tuple[Path, TrainingSpec | RecipeError]] = []
    makers: dict[str, Path] = {}
    for path in sorted((folder or trainings_folder()).glob("*.yaml")):
        try:
            spec = load_training(path, is_thorough=is_thorough)
            if taken := next((name for name in _names(spec) if name in makers), None):
                text = f"{taken!r} is made by {makers[taken].name} already; choose another name"
                raise RecipeError(path, [Problem(1, text)])
            makers |= dict.fromkeys(_names(spec), path)
            found.append((path, spec))
        except RecipeError as error:
            found.append((path, error))
    return found


def valid_trainings(folder: Path | None = None, *, is_thorough: bool = True) -> list[TrainingSpec]:
    """The trainings that validate."""
    found = all_trainings(folder, is_thorough=is_thorough)
    return [spec for _, spec in found if isinstance(spec, TrainingSpec)]


def find_training(word: str) -> TrainingSpec:
    """By file, by the training's name, or by the name of a network that it makes."""
    path = trainings_folder() / f"{word}.yaml"
    if word.endswith((".yaml", ".yml")):
        path = Path(word)
    elif not path.is_file():
        found = all_trainings(is_thorough=False)
        makers = (p for p, spec in found if isinstance(spec, TrainingSpec) and word in _names(spec))
        path = next(makers, path)
    return load_training(path)


def maker_of(uri: str, specs: Sequence[TrainingSpec]) -> TrainingSpec | None:
    """The training that makes the network at `bundled://<name>` or `trained://<name>`."""
    kind, _, name = uri.partition("://")
    if kind not in ("bundled", "trained"):
        return None
    return next((spec for spec in specs if name in spec.named.values()), None)


def _names(spec: TrainingSpec) -> set[str]:
    return {spec.name, *spec.named.values()}


def _validated(
    document: Document, *, is_thorough: bool
) -> tuple[TrainingSpec | None, list[Problem]]:
    problems = list(document.problems)
    if not isinstance(document.value, dict):
        return None, problems or [Problem(1, "expected a mapping, such as 'name: my_generator'")]
    try:
        spec = TrainingSpec.model_validate(document.value)
    except ValidationError as error:
        return None, [*problems, *problems_of(error, document, TrainingSpec)]
    return spec, [*problems, *cross_check(spec, document, is_thorough=is_thorough)]
