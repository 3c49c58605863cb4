"""The checks across a recipe's sections."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from invertory.pipelines.recipe.choices import (
    Finding,
    attribute_findings,
    collection_findings,
    default_methods,
    generator_findings,
    method_findings,
)
from invertory.pipelines.recipe.compatibility import fit_findings, parameter_findings
from invertory.pipelines.recipe.errors import near
from invertory.pipelines.recipe.yaml_lines import Document, Problem

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore


def cross_check(
    recipe: Recipe,
    document: Document,
    broken: set[str],
    models: ModelStore,
    *,
    is_thorough: bool,
) -> list[Problem]:
    """Problems across sections; a check that needs a section in `broken` is left out."""
    return [
        Problem(document.line(path), text)
        for check, needs in {**CHECKS, **(METHOD_CHECKS if is_thorough else {})}.items()
        if not broken & set(needs)
        for path, text in check(recipe, models)
    ]


def _boundaries(recipe: Recipe) -> Iterator[Finding]:
    for name, how in recipe.boundaries.items():
        if (how.fit != "import" or how.calibrate) and name not in recipe.attributes:
            remedy = near(name, recipe.attributes) or "; add it there"
            yield ("boundaries", name), f"boundary {name!r} has no scorer in attributes{remedy}"
        elif _needs_samples(how) and name not in recipe.scored:
            text = f"boundary {name!r} is fitted on samples of the generator, which have no labels"
            yield ("boundaries", name), f"{text}; use fit: collection, or another scorer"
        for i, condition in enumerate(() if how.fit == "import" else how.conditions):
            path = ("boundaries", name, "conditions", i)
            if condition == name:
                yield path, f"boundary {name!r} cannot be a condition of itself; remove it"
            elif condition not in recipe.boundaries:
                yield path, _no_boundary(f"condition {condition!r}", condition, recipe)


def _needs_samples(how: Any) -> bool:
    """True where draws from the generator have to be scored."""
    return "samples" in {how.fit, getattr(how, "calibrate", None)}


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


def _augmentation_method(recipe: Recipe, models: ModelStore) -> Iterator[Finding]:
    wanted = recipe.augmentation
    if wanted is None:
        return
    methods = recipe.methods or default_methods(recipe, models)
    if wanted.method not in methods:
        text = f"the recipe has no method {wanted.method!r}{near(wanted.method, methods)}"
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
    elif name not in recipe.scored:
        text = f"{role} {name!r} has labels only, and a partner has to be scored anew"
        yield path, f"{text}; give it a scorer that scores images"
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
    """Cron and timezone are checked by Dagster, which has to run them."""
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


def _of_recipe(check: Callable[[Recipe], Iterator[Finding]]) -> Check:
    """A check that does not look for networks."""
    return lambda recipe, models: check(recipe)


Check = Callable[["Recipe", "ModelStore"], Iterator[Finding]]

# Each with the sections that it needs.
CHECKS: Mapping[Check, tuple[str, ...]] = {
    _of_recipe(collection_findings): ("collection",),
    method_findings: ("methods", "generator"),
    _of_recipe(generator_findings): ("generator",),
    attribute_findings: ("attributes", "collection"),
    _of_recipe(_boundaries): ("boundaries", "attributes"),
    _of_recipe(_edits): ("edits", "boundaries"),
    _augmentation_method: ("augmentation", "methods", "generator"),
    _of_recipe(_augmentation): ("augmentation", "attributes", "boundaries"),
    _of_recipe(_export): ("export",),
    _of_recipe(_schedule): ("schedule",),
}
METHOD_CHECKS: Mapping[Check, tuple[str, ...]] = {  # build the methods, and so import torch
    parameter_findings: ("methods",),
    fit_findings: ("methods", "generator"),
}
