"""Which of a method's settings have an effect, given its other settings.

A field declares this with a predicate `applies` in its metadata: `rampup` applies only if the
schedule is a ramp. The settings stored with latents, which decide whether latents are computed
again, are those of `effective`: it resets every setting without an effect to its default.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def effective(method: Settings) -> Settings:
    """Return the method with every setting that has no effect reset to its default."""
    return replace(
        method, **{f.name: _default(f) for f in fields(method) if not applies(f, method)}
    )


def applies(field: Field[Any], method: Any) -> bool:
    """Whether the setting has an effect, given the method's other settings."""
    predicate = field.metadata.get("applies")
    return predicate is None or bool(predicate(method))


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
