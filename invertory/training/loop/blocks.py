"""A folder of arrays that is filled in blocks; an interrupted run resumes at its last block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invertory.training.loop.results import plain, replace_file

Progress = Callable[[int, int], None]  # rows done, rows in all


def silent(done: int, num: int) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True, slots=True)
class BlockFolder:
    """Rows of kind `what` in `folder`; `<what>.json` holds their settings and how many are done."""

    folder: Path
    what: str

    @property
    def state(self) -> dict[str, Any]:
        """The settings and `done`; empty before the first block."""
        path = self._path
        state: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        return state

    def begin(self, settings: Mapping[str, Any]) -> int:
        """The number of finished rows; raises ValueError if they have other settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        expected, state = plain(settings), self.state
        done = int(state.pop("done", 0))
        if state and state != expected:
            names = [name for name in expected if state.get(name) != expected[name]]
            raise ValueError(
                f"expected {self.what} with { {name: expected[name] for name in names} } in "
                f"{self.folder}, got { {name: state.get(name) for name in names} }: name another "
                "folder"
            )
        return done

    def blocks(
        self, settings: Mapping[str, Any], num: int, size: int, progress: Progress = silent
    ) -> Iterator[slice]:
        """Unfinished rows, `size` at a time; a block is recorded when the next one is requested.

        The caller must have flushed the block's arrays by then.
        """
        for start in range(self.begin(settings), num, size):
            stop = min(start + size, num)
            yield slice(start, stop)
            state = json.dumps(plain(settings) | {"done": stop}, indent=2)
            replace_file(self._path, state.encode())
            progress(stop, num)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.what}.json"
