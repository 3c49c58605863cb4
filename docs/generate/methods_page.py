"""The settings of every method, from the fields of its dataclass."""

from __future__ import annotations

from docs.generate.dataclass_fields import field_table
from docs.generate.markdown import NOTICE
from invertory.inversion import METHODS

OPENING = """\
# Settings of methods

What a recipe may write below `methods: {NAME: {...}}`, and what `METHODS[NAME](...)` takes in
Python. Defaults are those of the paper. A setting that has no effect beside the others (`rampup`
without `schedule: ramp`) is not part of a table's key. [Methods](methods.md) says what each is
for.
"""


def page() -> str:
    """The page as Markdown."""
    lines = [NOTICE, "", OPENING]
    for name, method in METHODS.items():
        lines += [f"## `{name}`", "", *field_table(method)]
    return "\n".join(lines).rstrip("\n") + "\n"
