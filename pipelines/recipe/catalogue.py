"""What recipes and trainings may name, as data: methods, generators, trainers and their settings.

Methods, generators and trainers live in modules that import torch, which takes seconds. The code
location only needs their names, types and defaults, so `catalogue.json` holds these. `make
catalogue` derives the file from the registries, and a test compares the two.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import importlib
import inspect
import json
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

CATALOGUE: Final = Path(__file__).with_name("catalogue.json")

_WORDS: Final = {"typing": typing, "collections": collections}  # that the text of a type may use


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of a method or a trainer: one field of its dataclass."""

    type: str  # as Python writes it; empty where the setting has settings of its own
    default: Any = None
    applies: tuple[tuple[str, str, Any], ...] = ()  # see `invertory.inversion.effect`
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def hint(self) -> Any:
        """The type itself."""
        written = SimpleNamespace(__annotations__={"it": self.type})
        return get_type_hints(written, globalns=_WORDS)["it"]

    def as_json(self) -> dict[str, Any]:
        """Its entry in the file."""
        if self.settings:
            return {"settings": _as_json(self.settings)}
        conditions = {"applies": self.applies} if self.applies else {}
        return {"type": self.type, "default": self.default, **conditions}


Settings = Mapping[str, Setting]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything by its name in a recipe or a training."""

    methods: Mapping[str, Settings]
    generators: Mapping[str, tuple[str, ...]]  # family => the options it takes
    trainers: Mapping[str, Settings]
    world: Settings  # of drawn portraits
    draws: Settings  # of pairs
    face_scores: tuple[str, ...]  # of MediaPipe's face landmarker

    def as_json(self) -> dict[str, Any]:
        """The content of `catalogue.json`."""
        return {
            "methods": {name: _as_json(one) for name, one in self.methods.items()},
            "generators": dict(self.generators),
            "trainers": {name: _as_json(one) for name, one in self.trainers.items()},
            "world": _as_json(self.world),
            "draws": _as_json(self.draws),
            "face_scores": self.face_scores,
        }


@cache
def catalogue() -> Catalogue:
    """The committed catalogue; it is read once."""
    found = _as_tuples(json.loads(CATALOGUE.read_text(encoding="utf-8")))
    return Catalogue(
        methods={name: _from_json(one) for name, one in found["methods"].items()},
        generators=found["generators"],
        trainers={name: _from_json(one) for name, one in found["trainers"].items()},
        world=_from_json(found["world"]),
        draws=_from_json(found["draws"]),
        face_scores=found["face_scores"],
    )


def settings_of_class(settings_class: type) -> dict[str, Setting]:
    """The settings that a dataclass declares."""
    hints = field_types(settings_class)
    return {
        one.name: _setting(one, hints[one.name])
        for one in dataclasses.fields(settings_class)
        if one.init
    }


def field_types(settings_class: type) -> dict[str, Any]:
    """Name => type of a dataclass's settings; its class attributes may name types unknown here."""
    wanted = {one.name for one in dataclasses.fields(settings_class) if one.init}
    hints: dict[str, Any] = {}
    for owner in reversed(settings_class.__mro__):  # a module may only know its own annotations
        written = {k: v for k, v in inspect.get_annotations(owner).items() if k in wanted}
        names = vars(importlib.import_module(owner.__module__))
        hints |= get_type_hints(SimpleNamespace(__annotations__=written), globalns=names)
    return hints


def _setting(one: dataclasses.Field[Any], hint: Any) -> Setting:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return Setting(type="", settings=settings_of_class(hint))
    if one.default is MISSING and one.default_factory is MISSING:
        raise TypeError(f"expected a default for the setting {one.name!r}, got none; give it one")
    default = one.default if one.default_factory is MISSING else one.default_factory()
    is_class = isinstance(hint, type) and not typing.get_args(hint)
    return Setting(
        type=hint.__name__ if is_class else repr(hint),
        default=default,
        applies=one.metadata.get("applies", ()),
    )


def default_values(settings: Settings) -> dict[str, Any]:
    """Name => default, of settings that have no settings of their own."""
    return {name: copy.copy(one.default) for name, one in settings.items() if not one.settings}


def _as_json(settings: Settings) -> dict[str, Any]:
    return {name: one.as_json() for name, one in settings.items()}


def _from_json(value: Mapping[str, Any]) -> dict[str, Setting]:
    return {
        name: Setting(
            type=one.get("type", ""),
            default=one.get("default"),
            applies=one.get("applies", ()),
            settings=_from_json(one.get("settings", {})),
        )
        for name, one in value.items()
    }


def _as_tuples(value: Any) -> Any:
    """JSON's lists as tuples, which the defaults of frozen dataclasses are."""
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
