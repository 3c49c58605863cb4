"""What the words of a recipe mean: methods, generators, attributes, drawn portraits.

Words are looked up in the catalogue and on networks' cards, without importing a network or a
method. What only a method's own code knows is asked in `compatibility`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from invertory.conditions import hold
from invertory.pipelines.networks.generators import SOURCES, source_of
from invertory.pipelines.recipe.catalogue import Settings, catalogue, default_values
from invertory.pipelines.recipe.errors import dotted, near, problems_of, unknown_key
from invertory.pipelines.recipe.yaml_lines import Document, Path

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore

Finding = tuple[Path, str]
DEFAULT_METHOD = "in_domain"


def completed(recipe: Recipe, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter that `recipe` computes the method `name` with.

    A precision of the method's own comes before the recipe's; a setting that has no effect beside
    the others has its default.
    """
    settings = catalogue().methods[name]
    defaults = default_values(settings)
    precision = {"precision": recipe.resources.precision} if "precision" in settings else {}
    values = defaults | precision | {**given}
    return {
        key: value if hold(settings[key].applies, values) else defaults[key]
        for key, value in values.items()
    }


def network_addresses(recipe: Recipe, name: str) -> dict[str, str]:
    """kind => address of every network that the method `name` needs; `auto` chooses by the cards.

    The addresses are a method's only settings of plain text; an empty one names no network.
    """
    settings = catalogue().methods[name]
    values = completed(recipe, name, recipe.methods.get(name, {}))
    return {
        kind: values[kind]
        for kind, setting in settings.items()
        if setting.type == "str" and values[kind] and hold(setting.applies, values)
    }


def default_methods(recipe: Recipe, models: ModelStore) -> tuple[str, ...]:
    """The methods of a recipe that names none: in-domain, where its generator has an encoder."""
    from invertory.pipelines.networks.resolve import fitting

    has_encoder = not fitting(recipe, DEFAULT_METHOD, "encoder", models).missing
    return (DEFAULT_METHOD,) if has_encoder else ()


def method_findings(recipe: Recipe, models: ModelStore) -> Iterator[Finding]:
    """Unknown methods, and parameters of the wrong name or type."""
    known = catalogue().methods
    if not recipe.methods and not default_methods(recipe, models):
        text = f"no encoder is known that was made for the generator {recipe.generator.name!r}"
        yield (), f"the recipe needs 'methods'; add it ({text})"
    for name, parameters in recipe.methods.items():
        if name not in known:
            yield ("methods", name), f"unknown method {name!r}{near(name, known)}"
        else:
            yield from setting_findings(known[name], parameters, ("methods", name))


def generator_findings(recipe: Recipe) -> Iterator[Finding]:
    """An unknown generator, missing weights, and options that it does not take."""
    families = catalogue().generators
    name, options = recipe.generator.name, recipe.generator.options
    known = {**SOURCES, **families}
    if name not in known:
        yield ("generator", "name"), f"unknown generator {name!r}{near(name, known)}"
        return
    source = source_of(name)
    if source.takes_options:
        for key in options:
            if key not in families[name]:
                path = ("generator", "options", key)
                yield path, unknown_key(key, "generator.options", families[name])
        return
    if not source.weights and not recipe.generator.weights:
        yield ("generator",), f"generator {name!r} needs weights; name their address"
    if options:
        text = f"generator {name!r} has its options from its weights' card, got {list(options)}"
        yield ("generator", "options"), f"{text}; remove them"


def setting_findings(settings: Settings, given: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Names and types of `given` against the settings; and within a setting that has its own."""
    for key, value in given.items():
        if key not in settings:
            yield (*path, key), unknown_key(key, dotted(path), settings)
        elif settings[key].settings and isinstance(value, Mapping):
            yield from setting_findings(settings[key].settings, value, (*path, key))
        else:
            yield from _type_findings(settings[key].hint, value, (*path, key))


def value_findings(settings_class: Any, given: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """What the class itself refuses; `given` has no wrong name or type."""
    try:
        settings_class(**given)
    except (ValueError, TypeError) as error:
        yield path, f"{dotted(path)}: {error}"


def _type_findings(hint: Any, value: Any, path: Path) -> Iterator[Finding]:
    strict = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        TypeAdapter(hint, config=strict).validate_python(value)
    except ValidationError as error:
        for problem in problems_of(error, Document(value, {}, [])):
            yield path, f"{dotted(path)}: {problem.text.partition(': ')[2] or problem.text}"


def collection_findings(recipe: Recipe) -> Iterator[Finding]:
    """A wrong query of a `portraits://` address."""
    for uri in recipe.collection.uris:
        if uri.startswith("portraits://"):
            from invertory.resources.portraits import Portraits

            try:
                Portraits.parse(uri)
            except ValueError as error:
                yield ("collection", "uri"), f"collection.uri: {error}"


def attribute_findings(recipe: Recipe, models: ModelStore) -> Iterator[Finding]:
    """Scores that a scorer does not have; a network or a table of the user's is not opened."""
    for name, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            yield from _score_findings(
                name, "score", how.score, "MediaPipe", catalogue().face_scores
            )
        elif how.scorer == "classifier" and (known := _classifier_scores(how.weights, models)):
            yield from _score_findings(name, "score", how.score, how.weights, known)
        elif how.scorer == "labels" and how.uri is None:
            if any(uri.startswith("portraits://") for uri in recipe.collection.uris):
                from invertory.portraits import ATTRIBUTES

                known = tuple(ATTRIBUTES)
                yield from _score_findings(name, "column", how.column, "portraits://", known)
            else:
                text = f"attributes.{name}.uri: the collection has no labels of its own"
                yield ("attributes", name), f"{text}; name the table"


def _score_findings(
    attribute: str, key: str, given: str | None, scorer: str, known: tuple[str, ...]
) -> Iterator[Finding]:
    score = given or attribute
    if score not in known:
        path = ("attributes", attribute, key) if given else ("attributes", attribute)
        yield path, f"{scorer} has no {key} {score!r}{near(score, known)}"


def _classifier_scores(uri: str, models: ModelStore) -> tuple[str, ...]:
    """The scores that a classifier's card lists; none where the weights have no card."""
    from invertory.resources.checkpoints import network_card

    if not uri.startswith(("bundled://", "trained://")):
        return ()
    try:
        config = network_card(uri, models)["architecture"]["config"]
    except (OSError, ValueError, KeyError):  # it is reported as missing before work starts
        return ()
    return (*config.get("binary", ()), *config.get("continuous", ()))
