"""Which files decide a figure, on a small package of which everything is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.compare.bench import MEASURING
from benchmarks.compare.sources import Sources
from invertory.inversion import METHODS

FILES = {
    "invertory/methods/__init__.py": """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from invertory.types import Thing
class Found: ...
from invertory.methods.one import One
from invertory.methods.two import Two
METHODS = {"one": One, "two": Two}
""",
    "invertory/methods/one.py": """
from invertory.methods import Found
from invertory.engine import run
import torch
class One: ...
""",
    "invertory/methods/two.py": """
class Two:
    def go(self):
        from invertory.late import late
""",
    "invertory/engine.py": "def run():\n    return 1\n",
    "invertory/late.py": "late = 1\n",
    "invertory/types.py": "class Thing: ...\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def digests(root: Path, module: str = "invertory.methods.one") -> dict[str, str]:
    return Sources(root).digests([module])


def test_imports_are_followed_and_lists_are_not(root: Path) -> None:
    assert list(digests(root)) == [
        "invertory/engine.py",
        "invertory/methods/__init__.py",
        "invertory/methods/one.py",
    ]
    assert "invertory/late.py" in digests(root, "invertory.methods.two")


def test_what_a_package_passes_on_is_followed(root: Path) -> None:
    (root / "invertory/user.py").write_text("from invertory.methods import Two\n")
    found = digests(root, "invertory.user")
    assert {"invertory/methods/two.py", "invertory/late.py"} <= set(found)
    assert "invertory/methods/one.py" not in found


@pytest.mark.parametrize(
    ("name", "text", "is_other"),
    [
        ("engine.py", "def run():\n    return 2\n", True),
        ("engine.py", '"""Told."""\n\n\ndef run():\n    """Runs."""\n    return 1  # so\n', False),
        ("types.py", "class Thing:\n    x = 1\n", False),
        ("methods/two.py", "class Two: x = 1\n", False),
        ("methods/__init__.py", FILES["invertory/methods/__init__.py"] + "MORE = 1\n", False),
        ("methods/__init__.py", "class Found:\n    x = 1\n", True),
    ],
)
def test_code_decides_and_words_do_not(root: Path, name: str, text: str, is_other: bool) -> None:
    before = digests(root)
    (root / "invertory" / name).write_text(text)
    assert (digests(root) != before) is is_other


def test_a_method_is_decided_by_its_own_code_and_the_engine() -> None:
    sources = Sources()
    e4e = sources.digests([METHODS["e4e"].__module__])
    assert "invertory/inversion/engine/engine.py" in e4e
    assert "invertory/inversion/sam/optimisation.py" not in e4e
    measuring = sources.digests(MEASURING)
    assert "invertory/metrics/latent_consistency.py" in measuring
    assert "benchmarks/compare/editability.py" in measuring
    assert not any(path.startswith("invertory/inversion/sam") for path in measuring)
