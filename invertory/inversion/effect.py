"""Which of a method's settings have an effect, given its other settings.

A field says so itself by conditions in its metadata, all of which must hold: `rampup` has
`"applies": (("schedule", "==", "ramp"),)`. They are data (see `invertory.conditions`), so that a
recipe is completed without importing its methods.

The settings that are stored with latents, and that decide whether latents are computed again, are
those of `effective`: a setting without effect has its default there.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from invertory.conditions import hold

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
    values = {one.name: getattr(method, one.name) for one in fields(method)}
    return hold(field.metadata.get("applies", ()), values)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
