"""Every table, in the order of the data, and the chain of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from invertory.pipelines.tables.aligned import Aligned
from invertory.pipelines.tables.attributes import Attributes
from invertory.pipelines.tables.augmentation import Augmentation
from invertory.pipelines.tables.boundaries import Boundaries
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.edits import Edits
from invertory.pipelines.tables.exports import Exports
from invertory.pipelines.tables.images import Images
from invertory.pipelines.tables.latents import Latents
from invertory.pipelines.tables.models import Models
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.samples import Samples

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore

TABLES: Final[tuple[Table, ...]] = (
    Images(),
    Aligned(),
    Attributes(),
    Latents(),
    Models(),
    Samples(),
    Boundaries(),
    Edits(),
    Augmentation(),
    Exports(),
)


def chain_of(recipe: Recipe, models: ModelStore) -> Chain:
    """Every stage of `recipe`, in the order of the data; `models` has the cards of its networks."""
    stages = (stage for table in TABLES for stage in table.stages(recipe, models))
    return Chain(recipe.name, tuple(stages))
