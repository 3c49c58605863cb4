"""Everything Dagster serves: the assets of every recipe, their checks, jobs, sensors, schedules.

Recipes are read from `INVERTORY_RECIPES` (a folder, default `recipes/` of the repository), and
trainings from `INVERTORY_TRAININGS`. A file that does not validate is logged with its mistakes and
left out; it hides none of the others.

Every process of a run loads this module, so it has to load fast: each file is parsed once, and
torch is not imported (see `recipe.catalogue`).

A recipe is no Dagster component (`dg.Component`). A component's file is called defs.yaml and has
the keys `type` and `attributes` alone, so that recipes would need a second form beside that of
`invertory run FILE`; one component that does not validate fails the whole code location; and its
validation stops before a file's other mistakes and without this project's checks across sections.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import dagster as dg

from invertory.pipelines.assets import assets_of, trained_networks
from invertory.pipelines.automation import (
    jobs_of,
    ready_sensor_of,
    schedule_of,
    sensor_of,
)
from invertory.pipelines.recipe.recipe import RECIPES, Recipe, RecipeError, all_recipes
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.training.assets import training_assets
from invertory.pipelines.training.training import TrainingSpec, all_trainings
from invertory.pipelines.world import resources
from invertory.resources.models import ModelStore
from invertory.resources.redaction import redact_logs

Spec = TypeVar("Spec", Recipe, TrainingSpec)
_log = logging.getLogger(__name__)


def recipe_folders() -> list[Path]:
    """`INVERTORY_RECIPES` (default: those of the repository), and those derived from another."""
    folders = [Path(os.environ.get("INVERTORY_RECIPES", RECIPES))]
    if home := os.environ.get("DAGSTER_HOME"):
        folders.append(Path(home) / "recipes")
    return folders


def every_recipe(models: ModelStore) -> Iterator[tuple[Path, Recipe | RecipeError]]:
    """Each recipe or its mistakes, without the checks that import torch."""
    yield from all_recipes(*recipe_folders(), models=models, is_thorough=False)


def definitions_of(
    recipe: Recipe, models: ModelStore, trainings: Sequence[TrainingSpec] = ()
) -> dg.Definitions:
    """The assets, jobs, sensors and schedules of one recipe."""
    chain = chain_of(recipe, models)
    jobs = jobs_of(recipe, chain)
    later = [(verb, job) for verb, job in jobs.items() if verb != "invert"]
    trained = trained_networks(recipe, models, trainings)
    return dg.Definitions(
        assets=assets_of(recipe, chain, trained),
        jobs=list(jobs.values()),
        sensors=[
            sensor_of(recipe, jobs["invert"]),
            *(ready_sensor_of(recipe, verb, job) for verb, job in later),
        ],
        schedules=[schedule_of(recipe, *it) for it in jobs.items()] if recipe.schedule else [],
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    redact_logs()
    shared = resources()
    models: ModelStore = shared["models"]
    trainings = list(_valid(all_trainings(is_thorough=False), TrainingSpec))
    recipes = _valid(every_recipe(models), Recipe)
    return dg.Definitions.merge(
        dg.Definitions(resources=shared, executor=dg.in_process_executor),
        *(definitions_of(recipe, models, trainings) for recipe in recipes),
        dg.Definitions(assets=training_assets(trainings)),
    )


def _valid(found: Iterable[tuple[Path, Spec | RecipeError]], kind: type[Spec]) -> Iterator[Spec]:
    """The files that validate; the others are logged."""
    for path, spec in found:
        if isinstance(spec, kind):
            yield spec
        else:
            _log.error("%s is left out: %s", path, spec)
