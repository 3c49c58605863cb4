"""Write every generated page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from docs.generate import methods_page, recipes_page, tables_page, trainings_page

DOCS: Final = Path(__file__).resolve().parents[1]
PAGES: Final[dict[str, Callable[[], str]]] = {
    "recipes.md": recipes_page.page,
    "methods_settings.md": methods_page.page,
    "trainings.md": trainings_page.page,
    "tables.md": tables_page.page,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
