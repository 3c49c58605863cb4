"""The settings of a training's trainer: its dataclass, filled from the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from invertory.pipelines.recipe.catalogue import field_types
from invertory.pipelines.training.trainers import TRAINERS

if TYPE_CHECKING:
    from invertory.pipelines.training.training import TrainingSpec

# Settings that a training states elsewhere than in `settings` => where.
ELSEWHERE = {"images": "budget.images", "batch_size": "budget.batch_size", "shares": "data"}


def settings_of(spec: TrainingSpec) -> Any:
    """The settings of the spec's trainer, with its budget and the shares of its sets in them."""
    settings_class = TRAINERS[spec.trainer].settings_class
    stated = {
        "images": spec.budget.images,
        "batch_size": spec.budget.batch_size,
        "shares": spec.data.shares if spec.data else (),
    }
    known = field_types(settings_class)
    filled = {name: value for name, value in stated.items() if name in known and value}
    return built(settings_class, {**spec.settings, **filled})


def built(settings_class: type, given: Mapping[str, Any]) -> Any:
    """The dataclass with the given values; those of a nested dataclass replace its defaults."""
    return settings_class(**_values(settings_class, given))


def _values(settings_class: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.name: _nested(one, given[one.name])
        for one in dataclasses.fields(settings_class)
        if one.name in given
    }


def _nested(one: dataclasses.Field[Any], value: Any) -> Any:
    if not isinstance(value, Mapping) or one.default_factory is dataclasses.MISSING:
        return value
    default = one.default_factory()
    is_settings = dataclasses.is_dataclass(default) and not isinstance(default, type)
    return dataclasses.replace(default, **_values(type(default), value)) if is_settings else value
