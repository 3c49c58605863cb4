"""A table of labels from a file: CSV, Parquet, or the text that CelebA's lists are written in."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq


def read_labels(path: Path) -> pa.Table:
    """The table in `path` by its suffix; ValueError where it is none.

    `.txt`: a first line with the number of rows, a second with the names, then a file name and its
    values a line, parted by spaces; the first column is called `file`. Pictures of a Parquet file
    are left out.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
        if path.suffix == ".txt":
            return _celeba(path)
        return pc.read_csv(path)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ValueError(
            f"expected a table of labels (.csv, .parquet, or CelebA's .txt) in {path}, got: {error}"
        ) from error


def _parquet(path: Path) -> pa.Table:
    file = pq.ParquetFile(path)
    flat = [
        field.name
        for field in file.schema_arrow
        if not (pa.types.is_nested(field.type) or pa.types.is_binary(field.type))
    ]
    return file.read(flat)


def _celeba(path: Path) -> pa.Table:
    lines = path.read_text().splitlines()
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise ValueError(
            f"expected the number of rows in the first line of {path}, got "
            f"{lines[0][:60] if lines else 'an empty file'!r}; write a .csv instead"
        )
    names = lines[1].split()
    rows = [line.split() for line in lines[2:] if line.strip()]
    if wrong := [row for row in rows if len(row) != len(names) + 1]:
        raise ValueError(
            f"expected a file name and {len(names)} values a line in {path}, got {wrong[0][:3]}..."
        )
    values = {name: [float(row[i + 1]) for row in rows] for i, name in enumerate(names)}
    return pa.table({"file": [row[0] for row in rows], **values})
