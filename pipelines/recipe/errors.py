"""The mistakes of a recipe in words: file, line, what was expected, what came, the remedy."""

import difflib
import re
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from invertory.pipelines.errors.exit_codes import USAGE
from invertory.pipelines.recipe.yaml_lines import Document, Problem, read
from invertory.resources.redaction import redacted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "finite_number": "a finite number",
    "too_short": "{min_length} or more of them",
    "too_long": "{max_length} or fewer of them",
    "literal_error": "{expected}",
}


class RecipeError(ValueError):
    """A recipe that cannot run; `problems` has every mistake, in the order of the file."""

    exit_code = USAGE

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems)))
        name = _short(path)
        places = [f"{name}:{p.line}: " if p.line else f"{name}: " for p in self.problems]
        lines = (place + p.text for place, p in zip(places, self.problems, strict=True))
        super().__init__(redacted("\n".join(lines)))


def document_at(path: Path, word: str = "recipe") -> Document:
    """The parsed file; raises RecipeError where it cannot be read. `word` names its kind."""
    try:
        return read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(path, [Problem(0, _missing(path, word))]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(path, [Problem(0, f"cannot be read as UTF-8 text: {error}")]) from None


def _missing(path: Path, word: str) -> str:
    known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
    return f"no such {word}; {'there are ' + known if known else 'the folder has none'}"


def near(word: object, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" where something known resembles `word`, else what is known."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), names, n=1) or difflib.get_close_matches(
        str(word).lower(), names, n=1
    )
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(names)}" if names else ""


def unknown_key(key: object, where: str, known: Iterable[str]) -> str:
    """The message for a key that is not known in `where`."""
    return f"unknown key {str(key)!r} in {where}{near(key, known)}"


def dotted(path: Sequence[object], whole: str = "the recipe") -> str:
    """("edits", 0, "steps") => "edits[0].steps"; the empty path is `whole`."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.lstrip(".") or whole


def shown(value: Any) -> str:
    """A value as a reader would write it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"{value!r:.60}"


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel] | None = None
) -> list[Problem]:
    """Pydantic's errors in our words, each with its line."""
    return [_problem(details, document, model) for details in error.errors()]


def _problem(details: "ErrorDetails", document: Document, model: type[BaseModel] | None) -> Problem:
    path = _written(details["loc"], document.value)
    return Problem(document.line(path), _text(details, path, model))


def _text(details: "ErrorDetails", path: tuple[Any, ...], model: type[BaseModel] | None) -> str:
    kind, context = details["type"], details.get("ctx", {})
    whole = getattr(model, "WHOLE", "the recipe")
    where, got = dotted(path, whole), shown(details["input"])
    match kind:
        case "extra_forbidden":
            known = known_keys(model, details["loc"][:-1])
            return unknown_key(path[-1], dotted(path[:-1], whole), known)
        case "missing":
            return f"{dotted(path[:-1], whole)} needs {path[-1]!r}; add it"
        case "union_tag_not_found":
            return f"{where} needs {context['discriminator']}; add it"
        case "union_tag_invalid":
            tags = re.findall(r"'([^']*)'", context["expected_tags"])
            key = context["discriminator"].strip("'")
            return f"{where}.{key}: unknown {context['tag']!r}{near(context['tag'], tags)}"
        case "value_error":
            return f"{where}: {context['error']}"
        case "literal_error":
            options = re.findall(r"'([^']*)'", context["expected"])
            guess = near(details["input"], options)
            remedy = guess if "did you mean" in guess else ""
            return f"{where}: expected {context['expected']}, got {got}{remedy}"
    if kind in _EXPECTED:
        return f"{where}: expected {_EXPECTED[kind].format(**_plain(context))}, got {got}"
    return f"{where}: {details['msg']}, got {got}"


def _plain(context: dict[str, Any]) -> dict[str, Any]:
    """Limits as people write them: 1 rather than 1.0."""
    return {k: int(v) if isinstance(v, float) and v == int(v) else v for k, v in context.items()}


def _written(loc: Sequence[Any], value: Any) -> tuple[Any, ...]:
    """`loc` without the steps that pydantic adds: the tags of unions and "[key]"."""
    path: list[Any] = []
    for i, step in enumerate(loc):
        is_last = i == len(loc) - 1
        if isinstance(value, dict) and (step in value or is_last) and step != "[key]":
            value = value.get(step)
            path.append(step)
        elif isinstance(value, tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
            path.append(step)
    return tuple(path)


def known_keys(model: Any, loc: Sequence[Any]) -> list[str]:
    """The keys that the section at `loc` may have."""
    types_there = [model]
    for step in loc:
        types_there = [below for kind in types_there for below in _below(kind, step)]
    return [
        field.alias or name
        for kind in types_there
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def _below(kind: Any, step: Any) -> list[Any]:
    """The types that `kind` allows at `step`; a union's tag chooses among its members."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if step in (name, field.alias):
                return _members(field.annotation)
        return [kind] if step in getattr(kind, "TAGS", ()) else []
    if get_origin(kind) in (dict, tuple):
        return _members([a for a in get_args(kind) if a is not ...][-1])
    return []


def _members(annotation: Any) -> list[Any]:
    """The classes and containers that an annotation allows, without `Annotated`."""
    if hasattr(annotation, "__metadata__"):
        return _members(annotation.__origin__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _short(path: Path) -> str:
    here, full = Path.cwd(), path.resolve()
    return str(full.relative_to(here) if full.is_relative_to(here) else path)
