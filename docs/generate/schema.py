"""Sections of a YAML file from their pydantic models: a table of keys a section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.markdown import code, table, written

Schema = Mapping[str, Any]
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}


def key_table(model: Schema, root: Schema) -> list[str]:
    """A row a key: its type, its default and what it means."""
    required = model.get("required", ())
    rows = []
    for name, found in model.get("properties", {}).items():
        default = "**required**" if name in required else _default(found, root)
        rows.append((f"`{name}`", type_of(found, root), default, _meaning(found, root)))
    return table(("key", "value", "default", "meaning"), rows)


def _meaning(found: Schema, root: Schema) -> str:
    ref = _resolved(found, root) if "$ref" in found else {}
    return str(found.get("description") or ref.get("description", ""))


def sections(name: str, found: Schema, root: Schema) -> Iterator[tuple[str, Schema]]:
    """(heading, model) of each section below a key, and of those below these."""
    models = list(_models(found, root))
    for model in models:
        tag = _tag(model) if len(models) > 1 else ""
        heading = f"{name}: {tag}" if tag else name
        yield heading, model
        for key, part in model.get("properties", {}).items():
            yield from sections(f"{name}.{key}", part, root)


def type_of(found: Schema, root: Schema) -> str:
    """What may be written, in words."""
    if "$ref" in found:
        return type_of(_resolved(found, root), root)
    if "const" in found:
        return code(found["const"])
    if "enum" in found:
        return ", ".join(map(code, found["enum"]))
    for word in ("anyOf", "oneOf"):
        if word in found:
            kinds = dict.fromkeys(type_of(part, root) for part in found[word])
            return " or ".join(kinds)
    return _plain(found, root) + _bounds(found)


def _plain(found: Schema, root: Schema) -> str:
    kind = found.get("type")
    if kind == "array":
        items = found.get("items") or {}
        if prefix := found.get("prefixItems"):
            return f"list of {len(prefix)} {_plural(type_of(prefix[0], root))}"
        return f"list of {_plural(type_of(items, root))}"
    if kind == "object":
        extra = found.get("additionalProperties")
        if isinstance(extra, dict) and extra:
            return f"mapping of names to {_plural(type_of(extra, root))}"
        return "mapping" if extra else "section"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "`true` or `false`",
    }
    return "`null`" if kind == "null" else words.get(str(kind), "any value")


def _plural(kind: str) -> str:
    plain = {
        "text": "texts",
        "number": "numbers",
        "section": "sections",
        "whole number": "whole numbers",
    }
    kind, comma, bounds = kind.partition(",") if kind in plain or ", at" in kind else (kind, "", "")
    return plain.get(kind, kind) + comma + bounds


def _bounds(found: Schema) -> str:
    told = [text.format(written(found[word])) for word, text in BOUNDS.items() if word in found]
    return f", {' and '.join(told)}" if told else ""


def _default(found: Schema, root: Schema) -> str:
    if "default" not in found:
        return "`{}`" if _plain(found, root).startswith("mapping") else "as below"
    value = found["default"]
    return "as below" if isinstance(value, dict) and value else code(value)


def _models(found: Schema, root: Schema) -> Iterator[Schema]:
    if "$ref" in found:
        yield from _models(_resolved(found, root), root)
    elif found.get("properties"):
        yield found
    else:
        for part in (*found.get("anyOf", ()), *found.get("oneOf", ())):
            yield from _models(part, root)
        for word in ("items", "additionalProperties"):
            if isinstance(part := found.get(word), dict):
                yield from _models(part, root)


def _tag(model: Schema) -> str:
    """What tells one form of a section from the others."""
    scorer = model["properties"].get("scorer", {})
    if scorer:
        return " or ".join(scorer.get("enum") or [scorer["const"]])
    return "imported" if "import" in model["properties"] else "fitted"


def _resolved(found: Schema, root: Schema) -> Schema:
    model: Schema = root["$defs"][found["$ref"].rpartition("/")[2]]
    return model
