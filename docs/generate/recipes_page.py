"""Every key of a recipe, from the models that validate it."""

from __future__ import annotations

from docs.generate.markdown import NOTICE
from docs.generate.schema import key_table, sections
from invertory.pipelines.recipe.recipe import Recipe

OPENING = """\
# Recipes

A recipe is one YAML file that declares one pipeline. `recipes/portraits.yaml` and
`recipes/faces.yaml` work as they are; `recipes/your_images.yaml` is a commented template, which
`invertory recipes new NAME` copies. `invertory recipes check NAME` validates a recipe without
running anything and names the file, the line, the reason, and the closest match of a misspelled
key.

Only `name` and `collection` are required. Unknown keys are errors, values are not coerced (`"12"`
is not a number), YAML anchors work. `${NAME}` in an address is replaced by the environment
variable when the address is opened. The settings of each method have [a page of their
own](methods_settings.md).

## Top level
"""


def page() -> str:
    """The page as Markdown."""
    root = Recipe.model_json_schema()
    lines = [NOTICE, "", OPENING, *key_table(root, root)]
    for name, found in root["properties"].items():
        for heading, model in sections(name, found, root):
            lines += [f"## `{heading}`", "", model.get("description", ""), ""]
            lines += key_table(model, root)
    return "\n".join(lines).rstrip("\n") + "\n"
