"""The source files that a result depends on, with a digest of each.

All imports within `invertory` are followed from the modules that compute the result. The `__init__`
of a package counts only with its classes, its functions and the imported names that are used, so
that adding a method does not affect the results of others. Digests are computed from the syntax
tree and ignore comments, docstrings and formatting. Imports under `TYPE_CHECKING` and those of
other packages are ignored, hence also versions of libraries.
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
Import = tuple[str, tuple[str, ...]]  # module, names imported from it


@dataclass(slots=True)
class Sources:
    """Source files under `root`, read and parsed once, on first use."""

    root: Path = ROOT
    _trees: dict[str, ast.Module] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def digests(self, modules: Iterable[str]) -> dict[str, str]:
        """path => digest, for the modules and everything they import within `invertory`."""
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
        """The path of a module relative to the root; None if there is no such module."""
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
        for name in wanted:  # the name may be a submodule
            yield f"{module}.{name}", ()
        for target, names in _imports_of(self._tree(path)):
            if target.split(".")[0] == FOLLOWED:
                args = tuple(name for name in names if name in wanted) if is_list else names
                if args or not is_list:
                    yield target, args

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            tree = self._tree(path)
            body = [n for n in tree.body if not _is_text(n) and not _is_listing(path, n)]
            text = "\n".join(ast.dump(_bare(node)) for node in body)
            self._digests[path] = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
        return self._digests[path]


def _imports_of(tree: ast.AST) -> Iterator[Import]:
    """All imports, at any depth, except those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, tuple(alias.name for alias in node.names)
        yield from _imports_of(node)


def _is_listing(path: str, node: ast.AST) -> bool:
    """Whether the node is part of an `__init__` but neither a class nor a function."""
    is_code = isinstance(node, ast.ClassDef | ast.FunctionDef)
    return path.endswith("/__init__.py") and not is_code


def _bare(node: ast.AST) -> ast.AST:
    """Remove docstrings and other bare strings from the node in place."""
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
