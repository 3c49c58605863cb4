"""A recipe: one YAML file that declares a pipeline, validated before anything runs.

`load_recipe` returns a frozen `Recipe`, or raises a `RecipeError` that names every mistake with its
line. With `is_thorough=False` it leaves out the checks that import the methods, and so torch; the
code location loads its recipes so, and a run meets what is left.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from invertory.pipelines.recipe.attributes import Attribute, Boundary
from invertory.pipelines.recipe.choices import completed, default_methods, network_addresses
from invertory.pipelines.recipe.edits import Augmentation, Edit, Export
from invertory.pipelines.recipe.errors import RecipeError, document_at, problems_of
from invertory.pipelines.recipe.sections import (
    Alignment,
    Checks,
    Collection,
    GeneratorChoice,
    Limits,
    PerceptualChoice,
    Resources,
    Schedule,
    Sensor,
)
from invertory.pipelines.recipe.types import MethodParameters, Name, Owner, Section, address_of
from invertory.pipelines.recipe.validate import cross_check
from invertory.pipelines.recipe.yaml_lines import Document, Problem
from invertory.resources.addresses import VARIABLE, Address

if TYPE_CHECKING:
    from invertory.resources.models import ModelStore

__all__ = ["RECIPES", "Recipe", "RecipeError", "all_recipes", "load_recipe", "template"]

RECIPES: Final = Path(__file__).resolve().parents[2] / "recipes"


class Recipe(Section):
    """One pipeline. Only `name` and `collection` are required."""

    name: Name
    """Prefix of the asset keys and folder in the store."""
    description: str = ""
    """One sentence for the reader."""
    owner: Owner = "team:invertory"
    """Who answers for the assets: an e-mail address or `team:name`."""
    collection: Collection
    """Where the images come from."""
    limits: Limits = Limits()
    """Files that are refused when they are read."""
    alignment: Alignment = Alignment()
    """How a photograph becomes crops."""
    generator: GeneratorChoice = GeneratorChoice()
    """The generator to invert."""
    perceptual: PerceptualChoice = PerceptualChoice()
    """The distance that inversion minimises."""
    methods: dict[Name, MethodParameters] = Field(default_factory=dict)
    """Inversion methods by name (`invertory.inversion.METHODS`) with their parameters; without any
    `in_domain`, where an encoder was made for the generator. A loaded recipe has every parameter
    that is computed with: a parameter that the file leaves out has the method's default, or for
    `precision` that of `resources`; one without effect beside the others has its default."""
    attributes: dict[Name, Attribute] = Field(default_factory=dict)
    """Attributes and their scorers."""
    boundaries: dict[Name, Boundary] = Field(default_factory=dict)
    """Where an attribute's boundary comes from; `fit` is samples, collection or import."""
    edits: tuple[Edit, ...] = ()
    """Edits: attributes moved by steps."""
    augmentation: Augmentation | None = None
    """Partners for fairness; absent: none, and no export."""
    export: Export = Export()
    """The form of the exported augmentation set."""
    checks: Checks = Checks()
    """Limits of the blocking checks."""
    schedule: Schedule | None = None
    """When the daemon computes what is missing or stale; absent: never by itself."""
    sensor: Sensor = Sensor()
    """How the daemon looks for new images, once its sensor is switched on."""
    resources: Resources = Resources()
    """What a run may use."""

    def config_for(self, section: str) -> Any:
        """A section as a JSON-able value (dicts, lists, numbers, text), for a stage's key."""
        if section not in type(self).model_fields:
            known = ", ".join(type(self).model_fields)
            raise KeyError(f"a recipe has no section {section!r}; it has {known}")
        return self.model_dump(mode="json", include={section})[section]

    def as_row(self) -> dict[str, Any]:
        """The recipe's row in a listing."""
        return {
            "recipe": self.name,
            "generator": self.generator.name,
            "methods": list(self.methods),
            "collection": list(self.collection.uris),
            "description": self.description,
        }

    def with_collection(self, uri: str) -> "Recipe":
        """The same recipe on other images, which get a store of their own."""
        place = address_of(uri)
        if "://" not in place.opened:
            path = Path(place.opened)
            if not path.exists():
                raise FileNotFoundError(
                    f"expected images at {place}, got nothing there; correct the address"
                )
            place = place if VARIABLE.search(uri) else Address(str(path.resolve()))
        collection = self.collection.model_copy(update={"uris": (place,)})
        mark = hashlib.sha256(place.encode()).hexdigest()[:6]
        name = f"{self.name}_{mark}"
        return self.model_copy(update={"name": name, "collection": collection})

    @property
    def scored(self) -> list[str]:
        """The attributes that are scored on images, so that drawn and edited images have them."""
        return [name for name, how in self.attributes.items() if how.scorer != "labels"]

    def method(self, name: str) -> Any:
        """The method `name` of `METHODS` with the parameters that this recipe computes with."""
        from invertory.inversion import METHODS  # here, as it imports torch

        return METHODS[name](**completed(self, name, self.methods[name]))

    def network_addresses(self, name: str) -> dict[str, str]:
        """kind => address, or `auto`, of every network that the method `name` needs."""
        return network_addresses(self, name)


def load_recipe(path: str | Path, models: "ModelStore", *, is_thorough: bool = True) -> Recipe:
    """Read and validate the recipe at `path`; raises RecipeError with every mistake in it."""
    path = Path(path)
    recipe, problems = _validated(document_at(path), models, is_thorough=is_thorough)
    if recipe is None or problems:
        raise RecipeError(path, problems)
    return recipe.model_copy(update={"methods": _completed_methods(recipe, models)})


def all_recipes(
    *folders: str | Path, models: "ModelStore", is_thorough: bool = True
) -> list[tuple[Path, Recipe | RecipeError]]:
    """Every recipe of the folders (default: ours) by file name; a broken one hides no other."""
    places = dict.fromkeys(Path(folder).resolve() for folder in folders or [RECIPES])
    files = [p for place in places for p in sorted(place.glob("*.y*ml"))
             if p.suffix in {".yaml", ".yml"}]  # fmt: skip
    found = ((path, _recipe_or_error(path, models, is_thorough=is_thorough)) for path in files)
    return list(_without_twins(found))


def template() -> str:
    """The commented text of `recipes/your_images.yaml`, from which a new recipe starts."""
    return (RECIPES / "your_images.yaml").read_text(encoding="utf-8")


def _validated(
    document: Document, models: "ModelStore", *, is_thorough: bool
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe and its problems; cross checks leave out sections that are broken already."""
    problems = list(document.problems)
    if not isinstance(document.value, dict):
        return None, problems or [Problem(1, "expected a mapping, such as 'name: faces'")]
    broken: set[str] = set()
    try:
        recipe = Recipe.model_validate(document.value)
    except ValidationError as error:
        problems += problems_of(error, document, Recipe)
        broken = {str(details["loc"][0]) for details in error.errors()}
        recipe = _valid_sections(document.value, broken)
    problems += cross_check(recipe, document, broken, models, is_thorough=is_thorough)
    return recipe, problems


def _valid_sections(value: dict[str, Any], broken: set[str]) -> Recipe:
    """The recipe without its broken sections, so that the others are checked all the same."""
    required = {"name": "x", "collection": {"uri": "x"}}
    sections = {key: section for key, section in value.items() if key not in broken}
    return Recipe.model_validate({**required, **sections})


def _completed_methods(recipe: Recipe, models: "ModelStore") -> dict[str, dict[str, Any]]:
    methods = recipe.methods or {name: {} for name in default_methods(recipe, models)}
    return {name: completed(recipe, name, given) for name, given in methods.items()}


def _recipe_or_error(
    path: Path, models: "ModelStore", *, is_thorough: bool
) -> Recipe | RecipeError:
    try:
        return load_recipe(path, models, is_thorough=is_thorough)
    except RecipeError as error:
        return error


def _without_twins(
    found: Iterator[tuple[Path, Recipe | RecipeError]],
) -> Iterator[tuple[Path, Recipe | RecipeError]]:
    """Two recipes of one name would write into one folder; the second becomes an error."""
    first: dict[str, Path] = {}
    for path, recipe in found:
        if isinstance(recipe, Recipe) and recipe.name in first:
            text = f"the name {recipe.name!r} is taken by {first[recipe.name].name}; choose another"
            yield path, RecipeError(path, [Problem(1, text)])
            continue
        if isinstance(recipe, Recipe):
            first[recipe.name] = path
        yield path, recipe
