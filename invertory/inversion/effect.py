"""Which of a method's settings have an effect, given its other settings.

A field of a method says so itself, by a predicate `applies` in its metadata: `rampup` applies where
the schedule is a ramp. What is stored with latents, and what decides whether they are computed
again, is `effective`: a setting that changes nothing has its default there.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def effective(method: Settings) -> Settings:
    """The method with the default of every setting that has no effect beside the others."""
    return replace(
        method, **{f.name: _default(f) for f in fields(method) if not applies(f, method)}
    )


def applies(field: Field[Any], method: Any) -> bool:
    """Whether the setting has an effect beside the method's other settings."""
    predicate = field.metadata.get("applies")
    return predicate is None or bool(predicate(method))


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
