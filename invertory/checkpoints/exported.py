"""Load programs saved by `torch.export` (.pt2), but only if loading runs no code of the file.

`torch.export.load` unpickles what a file marks as pickled, falls back to full unpickling where
restricted unpickling fails, evaluates the file's size expressions and guards as Python, and opens
compiled libraries. This module refuses a file with any of these before torch sees it. What remains
is tensors and a graph of operators that torch itself provides.
"""

from __future__ import annotations

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch

MAX_JSON_BYTES: Final = 64 << 20
REMEDY: Final = "export the classifier as ONNX, which contains no code of its author"
_TARGET: Final = re.compile(
    r"torch\.ops\.aten\.(?!from_file)[a-zA-Z0-9_]+\.[a-zA-Z0-9_]+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|l[te]|g[te]|and_|or_)"
    r"|math\.[a-z0-9]+|torch\.sym_[a-z]+|torch\.(float|int)[0-9]+"
)
_PICKLED: Final = ("custom_obj", "opaque_obj")
_PLAIN: Final = ("archive_format", "archive_version", "byteorder", "version", "serialization_id")
_CALLS: Final = frozenset({  # functions of sympy and torch's own functions of sizes
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs",
    "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "CeilToInt", "FloorToInt", "IntTrueDiv",
    "FloatTrueDiv", "TruncToInt", "TruncToFloat", "RoundToInt", "ToFloat", "ModularIndexing",
    "PowByNatural", "FloatPow", "Where", "Identity", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And",
    "Or", "Not", "Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan",
    "GreaterThan",
})  # fmt: skip
_METHODS: Final = frozenset({"size", "stride", "storage_offset"})  # methods of an input in a guard
_NODES: Final = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp,
    ast.BinOp, ast.Subscript, ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.keyword,
)  # fmt: skip


class UnsafeProgramError(ValueError):
    """The file needs more than tensors and torch's own operators."""


def load_exported(path: Path) -> Any:
    """Load the module in a .pt2 file.

    Raises `UnsafeProgramError` if loading could run code of the file, and `ValueError` if the file
    is broken.
    """
    data = path.read_bytes()
    try:
        check_exported(data)
    except UnsafeProgramError as error:
        raise UnsafeProgramError(f"{path.name} is refused: {error}; {REMEDY}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(io.BytesIO(data)).module()
    except Exception as error:  # a broken archive may raise nearly anything
        raise ValueError(
            f"expected a program saved by torch.export.save in {path.name}, got "
            f"{type(error).__name__}: {str(error)[:300]}; export it again, or as ONNX"
        ) from error


def check_exported(data: bytes) -> None:
    """Raise UnsafeProgramError unless every member of the archive is known to be harmless."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename.lower() for info in archive.infolist()]
            if len(set(names)) < len(names):  # readers differ in which of the two they read
                raise UnsafeProgramError("it has two members with the same name")
            for info in archive.infolist():
                _check_member(archive, info)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RecursionError) as error:
        raise UnsafeProgramError(f"expected an archive of torch.export, got: {error}") from error


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename)
    folders = name.parts[:-1]
    if name.suffix == ".json":
        if info.file_size > MAX_JSON_BYTES:
            raise UnsafeProgramError(f"{name} has {info.file_size} bytes")
        _check_json(archive.read(info), str(name))
    elif name.suffix == ".pt":
        _check_pickle(archive.read(info), str(name))
    elif name.name.startswith(_PICKLED):
        raise UnsafeProgramError(f"{name} is a pickled object")
    elif not (
        name.name in _PLAIN
        or "extra" in folders
        or ({"weights", "constants"} & set(folders) and re.fullmatch(r"\w+_\d+", name.name))
    ):
        raise UnsafeProgramError(f"{name} is neither a tensor nor a graph")


def _check_pickle(data: bytes, name: str) -> None:
    """Check with restricted unpickling: torch falls back to full unpickling if it fails."""
    try:
        if data:
            torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle may raise nearly anything
        raise UnsafeProgramError(f"{name} contains more than tensors") from error


def _check_json(data: bytes, name: str) -> None:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise UnsafeProgramError(f"{name} is not JSON") from error
    for key, value in _items(content):
        if key == "use_pickle" and value:
            raise UnsafeProgramError(f"{name} marks a tensor as pickled")
        if key == "path_name" and str(value).startswith(_PICKLED):
            raise UnsafeProgramError(f"{name} names a pickled object")
        if key == "target" and isinstance(value, str) and not _TARGET.fullmatch(value):
            raise UnsafeProgramError(
                f"{name} calls {value[:80]!r}, which is not an operator of torch"
            )
        if key == "expr_str":
            _check_expression(value, name)
        if key == "guards_code":
            for guard in value or ():
                _check_expression(guard, name)


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every (key, value) of nested JSON."""
    left = [content]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield from one.items()
            left += one.values()
        elif isinstance(one, list):
            left += one


def _check_expression(text: Any, name: str) -> None:
    """Raise UnsafeProgramError if evaluating `text` could do more than arithmetic on sizes."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, TypeError, ValueError, MemoryError) as error:
        raise UnsafeProgramError(f"{name} has an invalid expression") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            is_known = (isinstance(node.func, ast.Name) and node.func.id in _CALLS) or (
                isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
            )
        elif isinstance(node, ast.Attribute):
            is_known = node.attr in _METHODS
        elif isinstance(node, ast.Name):
            is_known = "__" not in node.id
        elif isinstance(node, ast.Constant):
            is_known = "__" not in str(node.value) and "(" not in str(node.value)
        else:
            is_known = isinstance(node, _NODES)
        if not is_known:
            raise UnsafeProgramError(f"{name} has the expression {str(text)[:80]!r}")
