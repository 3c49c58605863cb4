"""What the words of a recipe mean: methods, generators, attributes, drawn portraits.

Each is known by a registry of the science or by the card of a network.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from invertory.pipelines.recipe.errors import dotted, near, problems_of, unknown_key
from invertory.pipelines.recipe.yaml_lines import Document, Path

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe

Finding = tuple[Path, str]
DEFAULT_METHOD = "in_domain"
_INVERSION = "invertory.inversion"


def registry(module: str, name: str) -> Any:
    """What a module offers, e.g. ("invertory.inversion", "METHODS"); imports torch."""
    return getattr(importlib.import_module(module), name)


def method_of(name: str, parameters: Mapping[str, Any]) -> Any:
    """The method `name` with `parameters`; the rest has the method's defaults."""
    return registry("invertory.inversion", "METHODS")[name](**parameters)


def method_in(recipe: Recipe, name: str, given: Mapping[str, Any]) -> Any:
    """The method as `recipe` computes with it.

    A precision of the method's own comes before the recipe's; a setting that has no effect beside
    the others has its default.
    """
    takes = {field.name for field in dataclasses.fields(registry(_INVERSION, "METHODS")[name])}
    default = {"precision": recipe.resources.precision} if "precision" in takes else {}
    return registry("invertory.inversion.effect", "effective")(method_of(name, default | {**given}))


def default_methods(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe without methods gets: the default, where its generator has an encoder."""
    from invertory.pipelines.networks.resolve import fitting

    known = registry("invertory.inversion", "METHODS")
    has_encoder = not fitting(recipe, DEFAULT_METHOD, "encoder").missing
    return (DEFAULT_METHOD,) if DEFAULT_METHOD in known and has_encoder else ()


def method_findings(recipe: Recipe) -> Iterator[Finding]:
    known = registry("invertory.inversion", "METHODS")
    if not recipe.methods and not default_methods(recipe):
        text = f"no encoder is known that was made for the generator {recipe.generator.name!r}"
        yield (), f"the recipe needs 'methods'; add it ({text})"
    for name, parameters in recipe.methods.items():
        if name not in known:
            yield ("methods", name), f"unknown method {name!r}{near(name, known)}"
        else:
            yield from parameter_findings(known[name], parameters, ("methods", name))


def generator_findings(recipe: Recipe) -> Iterator[Finding]:
    from invertory.pipelines.networks.resolve import DEFAULT_WEIGHTS

    families = registry("invertory.generators", "GENERATORS")
    known = {"portraits": families["stylegan2"], **families}
    name, options = recipe.generator.name, recipe.generator.options
    if name not in known:
        yield ("generator", "name"), f"unknown generator {name!r}{near(name, known)}"
        return
    if name not in DEFAULT_WEIGHTS and name != "toy" and not recipe.generator.weights:
        yield ("generator",), f"generator {name!r} needs weights; name their address"
    if name != "toy" and options:
        text = f"generator {name!r} has its options from its weights' card, got {list(options)}"
        yield ("generator", "options"), f"{text}; remove them"
        return
    accepted = [
        p.name
        for p in inspect.signature(known[name]).parameters.values()
        if p.kind is p.KEYWORD_ONLY or p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    for key in options:
        if key not in accepted:
            path = ("generator", "options", key)
            yield path, unknown_key(key, "generator.options", accepted)


def parameter_findings(method: type, given: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Names and types of `given` against the fields of the dataclass `method`, then its own say."""
    fields = field_types(method)
    findings: list[Finding] = []
    for key, value in given.items():
        if key not in fields:
            findings.append(((*path, key), unknown_key(key, dotted(path), fields)))
            continue
        findings += _typed(fields[key], value, (*path, key))
    yield from findings
    if not findings:
        try:
            method(**given)
        except (ValueError, TypeError) as error:
            yield path, f"{dotted(path)}: {error}"


def field_types(method: type) -> dict[str, Any]:
    """Name => type of what a dataclass takes; its class attributes may name types unknown here."""
    taken = {f.name for f in dataclasses.fields(method) if f.init}
    types: dict[str, Any] = {}
    for owner in reversed(method.__mro__):  # a type is written in the words of its own module
        written = {k: v for k, v in inspect.get_annotations(owner).items() if k in taken}
        names = vars(importlib.import_module(owner.__module__))
        types |= get_type_hints(SimpleNamespace(__annotations__=written), globalns=names)
    return types


def _typed(hint: Any, value: Any, path: Path) -> Iterator[Finding]:
    strict = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        TypeAdapter(hint, config=strict).validate_python(value)
    except ValidationError as error:
        for problem in problems_of(error, Document(value, {}, [])):
            yield path, f"{dotted(path)}: {problem.text.partition(': ')[2] or problem.text}"


def collection_findings(recipe: Recipe) -> Iterator[Finding]:
    """What `portraits://` asks for is known before anything is drawn."""
    for uri in recipe.collection.uris:
        if uri.startswith("portraits://"):
            try:
                registry("invertory.resources.portraits", "Portraits").parse(uri)
            except ValueError as error:
                yield ("collection", "uri"), f"collection.uri: {error}"


def attribute_findings(recipe: Recipe) -> Iterator[Finding]:
    """Names are checked where they are known: a user's network or table is not opened here."""
    for name, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            yield from _named(name, "score", how.score, "MediaPipe", _face_scores())
        elif how.scorer == "classifier" and (known := _classified(how.weights)):
            yield from _named(name, "score", how.score, how.weights, known)
        elif how.scorer == "labels" and how.uri is None:
            if any(uri.startswith("portraits://") for uri in recipe.collection.uris):
                known = registry("invertory.portraits", "ATTRIBUTES")
                yield from _named(name, "column", how.column, "portraits://", list(known))
            else:
                text = f"attributes.{name}.uri: the collection has no labels of its own"
                yield ("attributes", name), f"{text}; name the table"


def _named(
    attribute: str, key: str, given: str | None, whose: str, known: list[str]
) -> Iterator[Finding]:
    score = given or attribute
    if score not in known:
        path = ("attributes", attribute, key) if given else ("attributes", attribute)
        yield path, f"{whose} has no {key} {score!r}{near(score, known)}"


def _classified(uri: str) -> list[str]:
    """What the card of a classifier says it was trained for; nothing where it has no card."""
    from invertory.resources.checkpoints import network_card
    from invertory.resources.models import ModelStore

    if not uri.startswith(("bundled://", "trained://")):
        return []
    try:
        config = network_card(uri, ModelStore())["architecture"]["config"]
    except (OSError, ValueError, KeyError):  # it is reported as missing before work starts
        return []
    return [*config.get("binary", ()), *config.get("continuous", ())]


def _face_scores() -> list[str]:
    scoring = importlib.import_module("invertory.scoring")
    return [*scoring.EXPRESSIONS, *scoring.POSE, *scoring.BLENDSHAPES]
