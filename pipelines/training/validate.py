"""The checks across a training's sections, its trainer, and the worlds that it draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from invertory.pipelines.recipe.catalogue import catalogue
from invertory.pipelines.recipe.choices import Finding, setting_findings, value_findings
from invertory.pipelines.recipe.errors import near, unknown_key
from invertory.pipelines.recipe.yaml_lines import Document, Path, Problem
from invertory.pipelines.training.settings import ELSEWHERE, settings_of
from invertory.pipelines.training.trainers import DRAWS, TRAINERS, WORLD, Trainer, imported

if TYPE_CHECKING:
    from invertory.pipelines.training.training import TrainingSpec


def cross_check(spec: TrainingSpec, document: Document, *, is_thorough: bool) -> list[Problem]:
    """Problems across sections; thorough checks build the settings, and so import torch."""
    if spec.trainer not in TRAINERS:
        text = f"unknown trainer {spec.trainer!r}{near(spec.trainer, TRAINERS)}"
        return [Problem(document.line(("trainer",)), text)]
    trainer = TRAINERS[spec.trainer]
    findings = [*_data(spec, trainer), *_networks(spec, trainer), *_gives(spec, trainer)]
    findings += _settings(spec)
    if is_thorough and not findings:
        findings += _values(spec)
    return [Problem(document.line(path), text) for path, text in findings]


def _data(spec: TrainingSpec, trainer: Trainer) -> Iterator[Finding]:
    kind = spec.data.kind if spec.data else None
    if kind is None and trainer.takes:
        yield (), f"the trainer {spec.trainer!r} needs data: {' or '.join(trainer.takes)}; add it"
    elif kind is not None and kind not in trainer.takes:
        wanted = " or ".join(trainer.takes) or "none, as it draws from its generator"
        yield ("data", kind), f"the trainer {spec.trainer!r} takes data: {wanted}; got {kind}"
    if spec.data and spec.data.portraits:
        yield from _sets(spec, trainer)
    if spec.data and spec.data.pairs and spec.data.images:
        crop_px, px = spec.data.images.alignment.size_px, spec.data.pairs.size_px
        if px != crop_px:
            text = f"expected {crop_px} px as the images' crops have, got {px}"
            yield ("data", "pairs", "size_px"), text
    if spec.data and spec.data.pairs:
        path = ("data", "pairs", "draws")
        yield from setting_findings(catalogue().draws, spec.data.pairs.draws, path)


def _sets(spec: TrainingSpec, trainer: Trainer) -> Iterator[Finding]:
    sets = spec.data.portraits if spec.data and spec.data.portraits else ()
    if len(sets) > 1 and not trainer.mixes:
        text = f"the trainer {spec.trainer!r} takes one set of portraits, got {len(sets)}"
        yield ("data", "portraits"), text
    for i, one in enumerate(sets):
        path: Path = ("data", "portraits", i)
        if one.name in {other.name for other in sets[:i]}:
            yield (*path, "name"), f"two sets are called {one.name!r}; give each a name of its own"
        if one.size_px != sets[0].size_px:
            text = f"expected {sets[0].size_px} px as in the first set, got {one.size_px}"
            yield (*path, "size_px"), text
        yield from setting_findings(catalogue().world, one.world, (*path, "world"))


def _networks(spec: TrainingSpec, trainer: Trainer) -> Iterator[Finding]:
    known = [*trainer.needs, *trainer.may_use]
    for kind in spec.uses:
        if kind not in known:
            yield ("uses", kind), unknown_key(kind, f"uses of the trainer {spec.trainer!r}", known)
    for kind in trainer.needs:
        if kind not in spec.uses:
            text = f"the trainer {spec.trainer!r} needs a {kind}: name its address, such as"
            yield ("uses",), f"{text} {kind}: trained://portraits_{kind}"


def _gives(spec: TrainingSpec, trainer: Trainer) -> Iterator[Finding]:
    for kind in spec.gives:
        if kind not in trainer.gives:
            yield ("gives", kind), unknown_key(kind, "gives", trainer.gives)
    if len(set(spec.gives.values())) < len(spec.gives):
        yield ("gives",), f"expected a name for each network, got {list(spec.gives.values())}"


def _settings(spec: TrainingSpec) -> Iterator[Finding]:
    elsewhere = [name for name in spec.settings if name in ELSEWHERE]
    for name in elsewhere:
        yield ("settings", name), f"{name} belongs in {ELSEWHERE[name]}; remove it here"
    own = {name: value for name, value in spec.settings.items() if name not in elsewhere}
    yield from setting_findings(catalogue().trainers[spec.trainer], own, ("settings",))


def _values(spec: TrainingSpec) -> Iterator[Finding]:
    """Values that the classes refuse though their names and types are right."""
    for i, one in enumerate((spec.data and spec.data.portraits) or ()):
        yield from value_findings(imported(WORLD), one.world, ("data", "portraits", i, "world"))
    if spec.data and spec.data.pairs:
        path: Path = ("data", "pairs", "draws")
        yield from value_findings(imported(DRAWS), spec.data.pairs.draws, path)
    try:
        settings_of(spec)
    except (ValueError, TypeError) as error:
        yield ("settings",), f"settings: {error}"
