"""Fields of a dataclass: type, default and meaning, the latter from metadata or a comment."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import tokenize
from collections.abc import Iterator

from docs.generate.markdown import code, table

FIELD = re.compile(r"\s*(\w+)\s*:")


def field_table(cls: type) -> list[str]:
    """A row a field that may be set."""
    comments = dict(_comments(cls))
    rows = [
        (
            f"`{f.name}`",
            _type(f),
            _default(f),
            f.metadata.get("description") or comments.get(f.name, ""),
        )
        for f in dataclasses.fields(cls)
        if f.init
    ]
    if not rows:
        return ["No settings.", ""]
    return table(("setting", "type", "default", "meaning"), rows)


def _type(found: dataclasses.Field[object]) -> str:
    text = (
        found.type
        if isinstance(found.type, str)
        else getattr(found.type, "__name__", str(found.type))
    )
    return f"`{text}`"


def _default(found: dataclasses.Field[object]) -> str:
    if found.default is not dataclasses.MISSING:
        return code(found.default)
    if found.default_factory is not dataclasses.MISSING:
        return code(found.default_factory())
    return "**required**"


def _comments(cls: type) -> Iterator[tuple[str, str]]:
    """(field, comment on its lines), of base classes first."""
    for owner in reversed(cls.__mro__):
        if dataclasses.is_dataclass(owner):
            yield from _of_source(inspect.getsource(owner))


def _of_source(source: str) -> Iterator[tuple[str, str]]:
    """A comment belongs to the field whose statement it ends in."""
    name, line = "", ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.line != line:
            line = token.line
            if token.start[1] == 4 and (match := FIELD.match(line)):
                name = match[1]
        if token.type == tokenize.COMMENT and name and not token.line.lstrip().startswith("#"):
            yield name, token.string.lstrip("# ")
