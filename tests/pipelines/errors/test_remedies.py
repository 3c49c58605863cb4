"""The commands and keys in messages exist."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from invertory.inversion import METHODS
from invertory.pipelines.cli.main import parser
from invertory.pipelines.recipe.errors import known_keys
from invertory.pipelines.recipe.recipe import Recipe

HOUSE = Path(__file__).parents[3]
FILES = [
    p for d in ("pipelines", "resources", "ops", "invertory") for p in (HOUSE / d).rglob("*.py")
]


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield every text in the code, including docstrings, with X for inserted values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def quoted() -> list[tuple[str, str]]:
    """Return (file, text in back quotes) for every text in the code."""
    found = set()
    for path in FILES:
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            for words in re.findall(r"`([^`\n]+)`", text):
                found.add((str(path.relative_to(HOUSE)), words))
    return sorted(found)


COMMANDS = [(path, words) for path, words in quoted() if words.startswith("invertory ")]
KEYS = [(path, words) for path, words in quoted() if re.match(r"[a-z_]+: *[{\w]", words)]
OF_A_METHOD = {f.name for method in METHODS.values() for f in dataclasses.fields(method)}
OF_A_PART = OF_A_METHOD | {"scorer", "fit", "calibrate", "mode", "counts", "threshold"}


def below(found: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    subs = [a for a in found._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(subs[0].choices) if subs else {}


def is_command(words: str) -> bool:
    """Return True if the parser has the command, its action and every option."""
    found = parser()
    for word in words.split()[1:]:
        choices = below(found)
        if word.startswith("--"):
            if word not in found._option_string_actions:
                return False
        elif choices:
            named = word.split("|")
            if not set(named) <= set(choices):
                return False
            found = choices[named[0]]
    return True


def is_key(words: str) -> bool:
    """Return True if a snippet of a recipe has only keys that its section allows."""
    value = yaml.safe_load(words.replace("...", "x"))
    return _fits(value, ()) if isinstance(value, dict) else True


def _fits(value: Any, path: tuple[str, ...]) -> bool:
    known = set(known_keys(Recipe, path))
    for key, part in value.items():
        if known and key not in known:
            return not path and key in OF_A_PART
        if isinstance(part, dict) and not _fits(part, (*path, key)):
            return False
    return True


def test_there_are_messages_with_commands():
    assert len({words for _, words in COMMANDS}) > 5 and KEYS


@pytest.mark.parametrize(("path", "words"), COMMANDS)
def test_a_command_in_a_message_exists(path, words):
    assert is_command(words)


@pytest.mark.parametrize(("path", "words"), KEYS)
def test_a_key_in_a_message_exists(path, words):
    assert is_key(words)


def test_unknown_commands_and_keys_are_detected():
    assert not is_command("invertory recipe list") and not is_command("invertory run --colection")
    assert is_command("invertory models list|show|import") and not is_key("perceptual: {nme: x}")
