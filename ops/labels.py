"""Labels that come with a collection: columns of a table, looked up by file name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from invertory.scoring import BadScore, Scores

KEYS: Final = (
    "file",
    "file_name",
    "filename",
    "image",
    "image_id",
)  # default keys, in order of preference


class LabelTable:
    """Numbers by file name: `columns` maps an attribute to a column of `table`.

    A key is a file name or the end of its path; the longest matching end wins. `plain` converts
    the URI of an image to its path, where the two differ.
    """

    def __init__(
        self,
        table: pa.Table,
        columns: Mapping[str, str],
        *,
        key: str | None = None,
        source: str = "the table",
        plain: Callable[[str], str] = str,
    ) -> None:
        key = key or next((name for name in KEYS if name in table.column_names), None)
        key = key or table.column_names[0]
        for name in (key, *columns.values()):
            if name not in table.column_names:
                raise ValueError(
                    f"expected a column {name!r} in {source}, got {table.column_names}; name one"
                )
        self.names = tuple(columns)
        self._source, self._plain = source, plain
        self._values = {a: _numbers(table, name, source) for a, name in columns.items()}
        self._rows = _rows(table.column(key).cast(pa.string()).to_pylist(), key, source)

    def find(self, uri: str) -> Scores | BadScore:
        """Return the labels of the image at `uri`, or why one of them is missing."""
        row = next((self._rows[end] for end in _ends(self._plain(uri)) if end in self._rows), None)
        if row is None:
            return BadScore(f"{self._source} has no row for it")
        scores = {name: float(values[row]) for name, values in self._values.items()}
        missing = [name for name, value in scores.items() if np.isnan(value)]
        return BadScore(f"{self._source} has no {missing[0]} for it") if missing else scores


def _ends(path: str) -> Iterator[str]:
    """ "a/b.tar::c/d.jpg" => "a/b.tar::c/d.jpg", "b.tar::c/d.jpg", "c/d.jpg", "d.jpg"."""
    yield path
    for i, letter in enumerate(path):
        if letter == "/" or path[i - 1 : i + 1] == "::":
            yield path[i + 1 :]


def _numbers(table: pa.Table, name: str, source: str) -> npt.NDArray[np.float32]:
    """Convert a column to float32, with NaN for empty cells."""
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        numbers: Any = pc.cast(column, pa.float32(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"expected numbers or booleans in column {name!r} of {source}, got {column.type}: "
            f"{error}; choose another column or convert it"
        ) from error
    values: npt.NDArray[np.float32] = numbers.to_numpy()
    return values


def _rows(names: list[str | None], key: str, source: str) -> dict[str, int]:
    """File name => row."""
    rows = {name.strip(): row for row, name in enumerate(names) if name}
    if len(rows) < len(names):
        raise ValueError(
            f"expected a distinct file name in each row of column {key!r} of {source}, got "
            f"{len(rows)} names in {len(names)} rows; name the right column as key"
        )
    return rows
