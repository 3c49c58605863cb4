"""The labels of a recipe's attributes: from tables that the user names, or from portraits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from invertory.ops.labels import LabelTable
from invertory.pipelines.collections.collection import Collection
from invertory.resources.entries import decode
from invertory.resources.labels import read_labels
from invertory.scoring import BadScore

if TYPE_CHECKING:
    from invertory.ops.label import Labels
    from invertory.pipelines.recipe.attributes import LabelScorer
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.scoring import Scores


def load_labels(recipe: Recipe, models: ModelStore) -> list[Labels]:
    """Load one source per table; each table is read once for all of its attributes."""
    by_table: dict[tuple[str | None, str | None], dict[str, LabelScorer]] = defaultdict(dict)
    for name, how in recipe.attributes.items():
        if how.scorer == "labels":
            by_table[how.uri, how.key][name] = how
    source = Collection(recipe, models) if any(uri for uri, _ in by_table) else None
    plain = source.plain if source else decode
    return [_labels(models, uri, key, chosen, plain) for (uri, key), chosen in by_table.items()]


class PortraitLabels:
    """The attributes that portraits were rendered with: the ground truth of `portraits://`."""

    def __init__(self, columns: dict[str, str]) -> None:
        self.names = tuple(columns)
        self._columns = columns

    def find(self, uri: str) -> Scores | BadScore:
        from invertory.resources.portraits import portrait_at

        portrait = portrait_at(decode(uri))
        if portrait is None:
            return BadScore("it is not from portraits://, so it has no known attributes")
        attributes = portrait.attributes
        return {name: attributes[column] for name, column in self._columns.items()}


def _labels(
    models: ModelStore,
    uri: str | None,
    key: str | None,
    chosen: dict[str, LabelScorer],
    plain: Callable[[str], str],
) -> Labels:
    columns = {name: how.column or name for name, how in chosen.items()}
    if uri is None:
        return PortraitLabels(columns)
    sha256 = next((how.sha256 for how in chosen.values() if how.sha256), None)
    table = read_labels(models.fetch(uri, sha256))
    return LabelTable(table, columns, key=key, source=uri, plain=plain)
