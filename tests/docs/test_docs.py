"""What the documentation names exists: pages, files, commands, targets, methods, tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from docs.generate.__main__ import PAGES
from invertory.inversion import METHODS
from invertory.pipelines.cli.main import parser
from invertory.pipelines.tables.registry import TABLES
from invertory.pipelines.training.trainers import TRAINERS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FRONT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
WRITTEN = [*FRONT, *(p for p in sorted(DOCS.glob("*.md")) if p.name not in PAGES)]
COMMANDS = set(re.findall(r"^    (\w+)", parser().format_help(), re.MULTILINE))
FOLDERS = ("docs", "invertory", "ops", "pipelines", "recipes", "resources", "tests", "trainings")


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run `make reference`"


def test_every_key_and_every_column_has_a_meaning() -> None:
    for name in ("recipes.md", "tables.md"):
        lines = (DOCS / name).read_text("utf-8").splitlines()
        rows = [line for line in lines if line.startswith("| `")]
        empty = [row for row in rows if re.search(r"\|\s*\|$", row) and "`scorer`" not in row]
        assert len(rows) > 60
        assert not empty


def test_the_readme_fits_two_screens() -> None:
    assert len(FRONT[0].read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", FRONT, ids=by_name)
def test_links_of_the_front_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        assert (ROOT / path).exists(), link
        if anchor:
            assert anchor in anchors(ROOT / path), link


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", WRITTEN, ids=by_name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`([\w./-]+/[\w./-]*)`", page.read_text("utf-8")):
        if path.split("/")[0] in FOLDERS and not path.startswith("resources.") and "<" not in path:
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", WRITTEN, ids=by_name)
def test_commands_of_a_page_are_commands(page: Path) -> None:
    text = page.read_text("utf-8")
    for line in re.findall(r"^    (?:\S*/)?invertory (\S.*)$", text, re.MULTILINE):
        for command in line.split("&& invertory "):
            parser().parse_args(shlex.split(command, comments=True))  # exits where it is none
    for word in re.findall(r"`invertory (\w+)", text):
        assert word in COMMANDS, word


def test_make_targets_of_a_page_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in WRITTEN:
        named = re.findall(r"(?:`|^    )make ([\w-]+)", page.read_text("utf-8"), re.MULTILINE)
        assert set(named) <= targets, page.name


def test_every_method_table_and_trainer_is_told_of() -> None:
    methods = (DOCS / "methods.md").read_text("utf-8")
    assert not [
        name for name in METHODS if f"| `{name}`" not in methods and f"`{name}`, `" not in methods
    ]
    chain = (DOCS / "chain.svg").read_text("utf-8")
    assert not [one.name for one in TABLES if f">{one.name}" not in chain]
    template = (ROOT / "trainings" / "your_images.yaml").read_text("utf-8")
    assert not [name for name in TRAINERS if name not in template]


def test_the_glossary_is_in_order() -> None:
    words = re.findall(
        r"^\| ([\w, -]+) \|", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE
    )
    terms = [word.lower() for word in words if word != "word"]
    assert terms == sorted(terms, key=lambda word: word.replace("-", ""))
    assert len(terms) >= 30
