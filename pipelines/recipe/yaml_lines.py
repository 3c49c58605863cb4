"""YAML with the line of every key and value, so that errors can name it.

Scalars follow the YAML 1.2 core schema: `no`, `on` and `12:30` are text, `1e-3` is a number and
`100_000` one too. Keys are text and unique. Anchors and merge keys work; tags do not.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

MAX_NODES: Final = 20_000  # aliases of aliases unfold exponentially; a recipe has some hundred

Key = str | int
Path = tuple[Key, ...]

_PREFIX: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset({  # what untagged YAML resolves to
    "null", "bool", "int", "float", "str", "timestamp", "value", "merge", "map", "seq",
})  # fmt: skip
_SCALARS: Final = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9][0-9_]{0,30}")),
    ("float", re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)


class Problem(NamedTuple):
    """A mistake and the line it is on, counted from 1."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML text: mappings are dicts, sequences tuples."""

    value: Any
    lines: dict[Path, int]  # path of a value => line of its key, or of the item of a sequence
    problems: list[Problem]

    def line(self, path: Path) -> int:
        """Line of the value at `path`, or of the deepest existing value above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Document:
    """Parse `text`. With mistakes in `problems`, `value` is what could be read."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ": ".join(text for text in (error.context, error.problem) if text)
        return Document(None, {}, [Problem(mark.line + 1 if mark else 1, f"not YAML: {reason}")])
    except RecursionError:
        return Document(None, {}, [Problem(1, "not YAML: nested too deeply")])
    except yaml.YAMLError as error:
        return Document(None, {}, [Problem(1, f"not YAML: {error}")])
    if root is None:
        return Document(None, {}, [Problem(1, "the file is empty")])
    walk = _Walk()
    value = walk.value(root, ())
    return Document(value, walk.lines, walk.problems)


@dataclass(slots=True)
class _Walk:
    """Turns nodes into plain values, and collects lines and problems."""

    lines: dict[Path, int] = field(default_factory=lambda: {(): 1})
    problems: list[Problem] = field(default_factory=list)
    num_nodes: int = 0
    open: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.num_nodes += 1
        if self.num_nodes == MAX_NODES:
            self._complain(node, f"more than {MAX_NODES} values; an anchor unfolds without end")
        if self.num_nodes >= MAX_NODES:
            return None
        if id(node) in self.open:
            self._complain(node, "an anchor that contains itself")
            return None
        if node.tag.removeprefix(_PREFIX) not in _TAGS:
            self._complain(node, f"tag {node.tag!r} is not understood; remove it")
        self.open.add(id(node))
        try:
            return self._content(node, path)
        finally:
            self.open.discard(id(node))

    def _content(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._item(child, (*path, i)) for i, child in enumerate(node.value))
        assert isinstance(node, yaml.ScalarNode)  # there are three kinds
        return self._scalar(node)

    def _item(self, node: yaml.Node, path: Path) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merges = [value for key, value in node.value if key.tag == f"{_PREFIX}merge"]
        merged = self._merge(merges, path)  # first, so that the lines of own keys win
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            is_merge = key_node.tag == f"{_PREFIX}merge"
            key = None if is_merge else self._key(key_node)
            if key is None:
                continue
            if key in own:
                first = self.lines[(*path, key)]
                self._complain(
                    key_node, f"key {key!r} occurs twice, first on line {first}; remove one"
                )
                continue
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, key))
        return {**merged, **own}

    def _merge(self, nodes: list[yaml.Node], path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for node in nodes:
            sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
            for source in sources:
                value = self.value(source, path)
                if not isinstance(value, dict):
                    self._complain(node, "'<<' merges mappings only")
                    continue
                merged = {**value, **merged}
        return merged

    def _key(self, node: yaml.Node) -> str | None:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, str):
            return key
        shown = node.value if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
        self._complain(node, f"a key must be text, got {shown}; quote it if it is meant as text")
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        tag = "str" if node.style else _tag(text)  # a quoted scalar is text
        match tag:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text.replace("_", ""))
            case "float":
                return self._finite(node, float(re.sub(r"_|\.(?=inf|nan)", "", text.lower())))
        return text

    def _finite(self, node: yaml.Node, number: float) -> float:
        if not math.isfinite(number):
            self._complain(node, f"expected a finite number, got {number}")
            return 0.0
        return number

    def _complain(self, node: yaml.Node, text: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, text))


def _tag(text: str) -> str:
    return next((tag for tag, pattern in _SCALARS if pattern.fullmatch(text)), "str")
