"""Write `recipe/catalogue.json` from the registries of methods, generators and trainers.

    python -m invertory.pipelines.cataloguing

Run it (`make catalogue`) after adding one of them or changing a setting's type, default or
condition.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from invertory.pipelines.recipe.catalogue import CATALOGUE, Catalogue, settings_of_class
from invertory.pipelines.training.trainers import DRAWS, TRAINERS, WORLD, imported


def registered() -> Catalogue:
    """What the registries offer; imports torch."""
    from invertory.generators import GENERATORS
    from invertory.inversion import METHODS
    from invertory.scoring import BLENDSHAPES, EXPRESSIONS, POSE

    return Catalogue(
        methods={name: settings_of_class(method) for name, method in METHODS.items()},
        generators={name: _options(family) for name, family in GENERATORS.items()},
        trainers={name: settings_of_class(one.settings_class) for name, one in TRAINERS.items()},
        world=settings_of_class(imported(WORLD)),
        draws=settings_of_class(imported(DRAWS)),
        face_scores=(*EXPRESSIONS, *POSE, *BLENDSHAPES),
    )


def write() -> None:
    """Replace the committed catalogue."""
    text = json.dumps(registered().as_json(), indent=1, allow_nan=False)
    CATALOGUE.write_text(f"{text}\n", encoding="utf-8")


def _options(family: Any) -> tuple[str, ...]:
    """Keyword arguments of a generator."""
    return tuple(
        option.name
        for option in inspect.signature(family).parameters.values()
        if option.kind in (option.KEYWORD_ONLY, option.POSITIONAL_OR_KEYWORD)
    )


if __name__ == "__main__":
    write()
