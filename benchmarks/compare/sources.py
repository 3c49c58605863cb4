"""Which of the program's own files can change a figure, and a digest of each.

From the modules that compute it every import within `invertory` is followed. A package's
`__init__` is a list of what there is: of it classes and functions count, and of its imports only
the names that are asked for, so that a new method in the list leaves the others' figures alone. A
digest is of the code as it is parsed: comments, docstrings and layout are not part of it. Imports
for types alone are passed over, and those of other packages: versions of libraries are not seen.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLLOWED: Final = "invertory"
DIGITS: Final = 12
Import = tuple[str, tuple[str, ...]]  # module, the names asked of it


@dataclass(slots=True)
class Sources:
    """Files under `root`, each parsed once; they are read when they are first asked for."""

    root: Path = ROOT
    _trees: dict[str, ast.Module] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def digests(self, modules: Iterable[str]) -> dict[str, str]:
        """path => digest, of the modules and of all that they import within `invertory`."""
        waiting: list[Import] = [(module, ()) for module in dict.fromkeys(modules)]
        seen: set[Import] = set()
        files: set[str] = set()
        while waiting:
            one = waiting.pop()
            if one not in seen and (path := self._path(one[0])) is not None:
                seen.add(one)
                files.add(path)
                waiting += self._imports(path, one)
        return {path: self._digest(path) for path in sorted(files)}

    def _path(self, module: str) -> str | None:
        """Relative to the root; None for what is no module, as a name in one is none."""
        stem = module.replace(".", "/")
        found = (path for path in (f"{stem}.py", f"{stem}/__init__.py") if self._is_file(path))
        return next(found, None)

    def _is_file(self, path: str) -> bool:
        return (self.root / path).is_file()

    def _tree(self, path: str) -> ast.Module:
        if path not in self._trees:
            self._trees[path] = ast.parse((self.root / path).read_text("utf-8"))
        return self._trees[path]

    def _imports(self, path: str, one: Import) -> Iterator[Import]:
        module, wanted = one
        is_list = path.endswith("/__init__.py")
        for name in wanted:  # a module of the package, perhaps
            yield f"{module}.{name}", ()
        for target, names in _imports_of(self._tree(path)):
            if target.split(".")[0] == FOLLOWED:
                asked = tuple(name for name in names if name in wanted) if is_list else names
                if asked or not is_list:
                    yield target, asked

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            tree = self._tree(path)
            body = [n for n in tree.body if not _is_text(n) and not _is_listing(path, n)]
            text = "\n".join(ast.dump(_bare(node)) for node in body)
            self._digests[path] = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
        return self._digests[path]


def _imports_of(tree: ast.AST) -> Iterator[Import]:
    """Wherever they stand, but for those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, tuple(alias.name for alias in node.names)
        yield from _imports_of(node)


def _is_listing(path: str, node: ast.AST) -> bool:
    """What of a package's `__init__` does not count."""
    is_code = isinstance(node, ast.ClassDef | ast.FunctionDef)
    return path.endswith("/__init__.py") and not is_code


def _bare(node: ast.AST) -> ast.AST:
    """The same without docstrings and other strings that stand alone within; changes the node."""
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(body, list):
            body[:] = [x for x in body if not _is_text(x)] or [ast.Pass()]
    return node


def _is_text(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
