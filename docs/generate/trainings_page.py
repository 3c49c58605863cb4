"""Every key of a training, and what each trainer takes."""

from __future__ import annotations

from docs.generate.dataclass_fields import field_table
from docs.generate.markdown import NOTICE, table
from docs.generate.schema import key_table, sections
from invertory.pipelines.training.trainers import TRAINERS
from invertory.pipelines.training.training import TrainingSpec

OPENING = """\
# Trainings

A training is one YAML file in `trainings/` that declares how one or several networks are made.
`invertory train NAME` runs it, and goes on with a run that was stopped; `invertory train --list`
shows all of them. `trainings/your_images.yaml` is a commented template. A recipe names the result
as `trained://NAME`.

## Top level
"""


def page() -> str:
    """The page as Markdown."""
    root = TrainingSpec.model_json_schema()
    lines = [NOTICE, "", OPENING, *key_table(root, root)]
    for name, found in root["properties"].items():
        for heading, model in sections(name, found, root):
            lines += [
                f"## `{heading}`",
                "",
                model.get("description", ""),
                "",
                *key_table(model, root),
            ]
    lines += ["## Trainers", "", *_trainers()]
    for name, trainer in TRAINERS.items():
        lines += [f"### Settings of `{name}`", "", *field_table(trainer.settings_class)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _trainers() -> list[str]:
    rows = [
        (
            f"`{name}`",
            ", ".join(t.takes) or "draws of its generator",
            _names(t.needs),
            _names(t.may_use),
            _names(t.gives),
        )
        for name, t in TRAINERS.items()
    ]
    return table(("trainer", "data", "needs in `uses`", "may use", "makes"), rows)


def _names(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)
