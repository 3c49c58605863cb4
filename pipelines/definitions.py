"""Everything Dagster serves: the assets of every recipe, their checks, jobs, sensors, schedules.

Recipes are read from `INVERTORY_RECIPES` (a folder, default `recipes/` of the repository), and
trainings from `INVERTORY_TRAININGS`; one that does not validate is left out and says why, and hides
none of the others.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from invertory.pipelines.assets import assets_of
from invertory.pipelines.automation import (
    jobs_of,
    phases_of,
    ready_sensor_of,
    schedule_of,
    sensor_of,
)
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.recipe.recipe import RECIPES, Recipe, RecipeError, all_recipes
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.training.assets import training_assets
from invertory.pipelines.training.training import all_trainings
from invertory.resources.addresses import shown
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.redaction import redact_logs
from invertory.resources.tables import Tables


def recipe_folders() -> list[Path]:
    """`INVERTORY_RECIPES` (default: those of the repository), and those made from another."""
    folders = [Path(os.environ.get("INVERTORY_RECIPES", RECIPES))]
    if home := os.environ.get("DAGSTER_HOME"):
        folders.append(Path(home) / "recipes")
    return folders


def every_recipe() -> Iterator[tuple[Path, Recipe | RecipeError]]:
    """Each recipe, or what is wrong with it."""
    yield from all_recipes(*recipe_folders())


def tables() -> Tables:
    """The store at `INVERTORY_STORE` (default: ./store)."""
    root = os.environ.get("INVERTORY_STORE", "store")
    # Dagster writes down how resources are configured: credentials stay in the environment
    return Tables(root=root if shown(root) == root else "${INVERTORY_STORE}")


def resources() -> dict[str, Any]:
    """The world as it is by default; a test or a cluster puts its own in their place."""
    return {
        "tables": tables(),
        "models": ModelStore(),
        "gpu": Gpu(),
        "reporting": Reporting(),
    }


def definitions_of(recipe: Recipe) -> dg.Definitions:
    """The assets, jobs, sensors and schedules of one recipe."""
    chain = chain_of(recipe)
    jobs = jobs_of(recipe, chain)
    phases = [(recipe, chain, verb, phase, jobs[verb]) for verb, phase in phases_of(chain).items()]
    return dg.Definitions(
        assets=assets_of(recipe, chain),
        jobs=list(jobs.values()),
        sensors=[sensor_of(recipe, jobs["invert"]), *(ready_sensor_of(*it) for it in phases[1:])],
        schedules=[schedule_of(*it) for it in phases] if recipe.schedule else [],
    )


@dg.definitions
def defs() -> dg.Definitions:
    redact_logs()
    parts = []
    trainings = []
    for path, found in [*every_recipe(), *all_trainings()]:
        if isinstance(found, RecipeError):
            logging.getLogger(__name__).error("%s is left out: %s", path, found)
        elif isinstance(found, Recipe):
            parts.append(definitions_of(found))
        else:
            trainings.append(found)
    parts.append(dg.Definitions(assets=training_assets(trainings)))
    shared = dg.Definitions(resources=resources(), executor=dg.in_process_executor)
    return dg.Definitions.merge(shared, *parts)
