"""`make train`: every bundled network that has a training, each after those that it uses."""

import re

from invertory.pipelines.training.training import TRAININGS, load_training
from invertory.resources.models import ModelStore


def named() -> list[str]:
    """The trainings of the Makefile, in its order."""
    text = (TRAININGS.parent / "Makefile").read_text().replace("\\\n", " ")
    portraits = re.search(r"(?m)^PORTRAITS := (.*)$", text)
    others = re.search(r"(?m)^TRAININGS \?= \$\(PORTRAITS:%=portraits_%\)(.*)$", text)
    assert portraits and others
    return [f"portraits_{name}" for name in portraits[1].split()] + others[1].split()


def made(name: str) -> set[str]:
    """Networks that a training leaves."""
    spec = load_training(TRAININGS / f"{name}.yaml")
    return set(spec.gives.values()) or {name}


def test_every_bundled_network_of_portraits_and_digits_is_trained():
    bundled = {card.name for card in ModelStore().cards() if card.source.startswith("bundled://")}
    ours = {name for name in bundled if name.startswith(("portraits_", "digits_"))}
    trained = set().union(*map(made, named()))
    assert ours <= trained
    assert len(named()) == len(set(named()))


def test_networks_come_before_those_that_use_them():
    there: set[str] = set()
    for name in named():
        uses = load_training(TRAININGS / f"{name}.yaml").uses.values()
        wanted = {uri.removeprefix("trained://") for uri in uses if uri.startswith("trained://")}
        assert wanted <= there, name
        there |= made(name)
