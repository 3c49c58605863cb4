"""What a recipe's parts demand of each other, and of the registries of methods and generators."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipelines.recipe_errors import dotted, near, problems_of, unknown_key
from pipelines.yaml_lines import Document, Path, Problem

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

Finding = tuple[Path, str]


def cross_check(recipe: Recipe, document: Document, broken: set[str]) -> list[Problem]:
    """Problems between parts; a check that needs a part in `broken` is left out."""
    return [
        Problem(document.line(path), text)
        for check, needs in CHECKS.items()
        if not broken & set(needs)
        for path, text in check(recipe)
    ]


def registry(module: str, name: str) -> Mapping[str, Any]:
    """A registry of the science, e.g. ("invertory.inversion", "METHODS"); imports torch."""
    return getattr(importlib.import_module(module), name)


def method_of(name: str, parameters: Mapping[str, Any]) -> Any:
    """The method `name` with `parameters`; the rest has the method's defaults."""
    return registry("invertory.inversion", "METHODS")[name](**parameters)


def _methods(recipe: Recipe) -> Iterator[Finding]:
    known = registry("invertory.inversion", "METHODS")
    for name, parameters in recipe.methods.items():
        if name not in known:
            yield ("methods", name), f"unknown method {name!r}{near(name, known)}"
        else:
            yield from _parameters(known[name], parameters, ("methods", name))


def _generator(recipe: Recipe) -> Iterator[Finding]:
    known = registry("invertory.generators", "GENERATORS")
    name, options = recipe.generator.name, recipe.generator.options
    if name not in known:
        yield ("generator", "name"), f"unknown generator {name!r}{near(name, known)}"
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


def _parameters(method: type, given: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    """Names and types of `given` against the fields of the dataclass `method`, then its own say."""
    fields = _fields(method)
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


def _fields(method: type) -> dict[str, Any]:
    """Name => type of what a dataclass takes; its class attributes may name types unknown here."""
    written = {f.name: f.type for f in dataclasses.fields(method) if f.init}
    names = vars(importlib.import_module(method.__module__))
    return get_type_hints(SimpleNamespace(__annotations__=written), globalns=names)


def _typed(hint: Any, value: Any, path: Path) -> Iterator[Finding]:
    strict = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        TypeAdapter(hint, config=strict).validate_python(value)
    except ValidationError as error:
        for problem in problems_of(error, Document(value, {}, [])):
            yield path, f"{dotted(path)}: {problem.text.partition(': ')[2] or problem.text}"


def _attributes(recipe: Recipe) -> Iterator[Finding]:
    """MediaPipe's scores are known by name; a classifier's are known once it is loaded."""
    for name, how in recipe.attributes.items():
        if how.scorer != "mediapipe":
            continue
        known = _face_scores()
        score = how.score or name
        if score not in known:
            path = ("attributes", name, "score") if how.score else ("attributes", name)
            remedy = near(score, known)
            yield path, f"MediaPipe has no score {score!r}{remedy}"


def _face_scores() -> list[str]:
    scoring = importlib.import_module("invertory.scoring")
    return [*scoring.EXPRESSIONS, *scoring.POSE, *scoring.BLENDSHAPES]


def _boundaries(recipe: Recipe) -> Iterator[Finding]:
    for name, how in recipe.boundaries.items():
        if (how.fit != "import" or how.calibrate) and name not in recipe.attributes:
            remedy = near(name, recipe.attributes) or "; add it there"
            yield ("boundaries", name), f"boundary {name!r} has no scorer in attributes{remedy}"
        for i, condition in enumerate(() if how.fit == "import" else how.conditions):
            path = ("boundaries", name, "conditions", i)
            if condition == name:
                yield path, f"boundary {name!r} cannot be a condition of itself; remove it"
            elif condition not in recipe.boundaries:
                yield path, _no_boundary(f"condition {condition!r}", condition, recipe)


def _edits(recipe: Recipe) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for i, edit in enumerate(recipe.edits):
        name = edit.attribute
        if name not in recipe.boundaries:
            yield ("edits", i, "attribute"), _no_boundary(f"edit of {name!r}", name, recipe)
        if name in first:
            text = f"{name!r} is edited in edits[{first[name]}] too; put all its steps there"
            yield ("edits", i, "attribute"), text
        if edit.mode == "absolute" and edit.layers != "all":
            text = f"an absolute step moves all layers, got {edit.layers!r}; use mode: relative"
            yield ("edits", i, "layers"), text
        first.setdefault(name, i)


def _augmentation_method(recipe: Recipe) -> Iterator[Finding]:
    wanted = recipe.augmentation
    if wanted and wanted.method not in recipe.methods:
        text = f"the recipe has no method {wanted.method!r}{near(wanted.method, recipe.methods)}"
        yield ("augmentation", "method"), text


def _augmentation(recipe: Recipe) -> Iterator[Finding]:
    wanted = recipe.augmentation
    if wanted is None:
        return
    roles = {"target": wanted.target, "protected": wanted.protected}
    if wanted.target == wanted.protected:
        yield ("augmentation", "protected"), f"{wanted.target!r} is the target; protect another"
    for role, name in roles.items():
        yield from _labelled(recipe, role, name)
    for i, name in enumerate(wanted.keep):
        if name in roles.values():
            text = f"{name!r} is target or protected already; remove it from keep"
            yield ("augmentation", "keep", i), text
        elif name not in recipe.boundaries:
            yield ("augmentation", "keep", i), _no_boundary(f"keep {name!r}", name, recipe)
    for name in wanted.threshold:
        if name not in roles.values():
            remedy = near(name, roles.values())
            text = f"threshold of {name!r}, which is neither target nor protected{remedy}"
            yield ("augmentation", "threshold", name), text


def _labelled(recipe: Recipe, role: str, name: str) -> Iterator[Finding]:
    """The target and the protected attribute need a scorer and a plane."""
    path = ("augmentation", role)
    if name not in recipe.attributes:
        remedy = near(name, recipe.attributes) or "; add it there"
        yield path, f"{role} {name!r} has no scorer in attributes{remedy}"
    if name not in recipe.boundaries:
        yield path, _no_boundary(f"{role} {name!r}", name, recipe)
        return
    how = recipe.boundaries[name]
    if how.fit == "import" and how.calibrate is None:
        text = f"{role} {name!r} is a bare direction; give its boundary `calibrate: samples`"
        yield path, text


def _no_boundary(what: str, name: str, recipe: Recipe) -> str:
    return f"{what} has no entry in boundaries{near(name, recipe.boundaries) or '; add it there'}"


def _export(recipe: Recipe) -> Iterator[Finding]:
    """A pair gives one row with and one without the protected attribute."""
    if isinstance(recipe.export.counts, str):
        return
    counts: Mapping[str, int] = {str(group): n for group, n in recipe.export.counts.items()}
    for one, other in (("neither", "protected"), ("target", "both")):
        if counts.get(one, 0) != counts.get(other, 0):
            text = (
                f"export.counts: expected as many of {one!r} as of {other!r}, as rows come in pairs"
            )
            yield (
                ("export", "counts"),
                f"{text}; got {counts.get(one, 0)} and {counts.get(other, 0)}",
            )


def _schedule(recipe: Recipe) -> Iterator[Finding]:
    """Asked of Dagster itself, which will have to run it."""
    if recipe.schedule is None:
        return
    import dagster as dg

    def is_valid(cron: str, timezone: str) -> bool:
        try:
            dg.ScheduleDefinition(cron_schedule=cron, execution_timezone=timezone, job_name="any")
        except dg.DagsterInvalidDefinitionError:
            return False
        return True

    cron, timezone = recipe.schedule.cron, recipe.schedule.timezone
    if not is_valid(cron, "UTC"):
        expected = "minute hour day month weekday, such as '0 2 * * *'"
        yield ("schedule", "cron"), f"schedule.cron: expected {expected}, got {cron!r}"
    if not is_valid("0 0 * * *", timezone):
        guess = near(timezone, sorted(zoneinfo.available_timezones()))
        remedy = guess if "did you mean" in guess else "; write it as Europe/Paris"
        yield ("schedule", "timezone"), f"schedule.timezone: unknown {timezone!r}{remedy}"


CHECKS: Mapping[Callable[[Recipe], Iterator[Finding]], tuple[str, ...]] = {
    _methods: ("methods",),
    _generator: ("generator",),
    _attributes: ("attributes",),
    _boundaries: ("boundaries", "attributes"),
    _edits: ("edits", "boundaries"),
    _augmentation_method: ("augmentation", "methods"),
    _augmentation: ("augmentation", "attributes", "boundaries"),
    _export: ("export",),
    _schedule: ("schedule",),
}
