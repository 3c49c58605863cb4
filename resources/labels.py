"""Read a table of labels from a file: CSV, Parquet, or the text format of CelebA's lists."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq


def read_labels(path: Path) -> pa.Table:
    """Read a table in the format of the file's suffix; ValueError if it is invalid.

    `.txt`: the first line is the number of rows and the second the column names; every other line
    is a file name and its values, separated by spaces. The first column is named `file`. Nested
    and binary columns of a Parquet file, such as images, are skipped.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
        if path.suffix == ".txt":
            return _celeba(path)
        return _csv(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text in {path.name}, got byte 0x{error.object[error.start]:02X} at "
            f"{error.start}; convert it, as with `iconv -f latin1 -t utf-8`"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"expected a table of labels (.csv, .parquet, or CelebA's .txt) in {path.name}, got: "
            f"{error}; write the file again"
        ) from error


def _csv(path: Path) -> pa.Table:
    """Read a CSV file. Raises UnicodeDecodeError where it is not UTF-8.

    Arrow reads such cells as bytes, which would match no file name, and fails on such a header
    only when the names of the columns are used.
    """
    with path.open(encoding="utf-8") as file:
        file.readline()
    table = pc.read_csv(path)
    if any(pa.types.is_binary(field.type) for field in table.schema):
        path.read_text(encoding="utf-8")
    return table


def _parquet(path: Path) -> pa.Table:
    file = pq.ParquetFile(path)
    flat = [
        field.name
        for field in file.schema_arrow
        if not (pa.types.is_nested(field.type) or pa.types.is_binary(field.type))
    ]
    return file.read(flat)


def _celeba(path: Path) -> pa.Table:
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise ValueError(
            f"expected the number of rows in the first line of {path}, got "
            f"{lines[0][:60] if lines else 'an empty file'!r}; write a .csv instead"
        )
    names = lines[1].split()
    rows = [line.split() for line in lines[2:] if line.strip()]
    if wrong := [row for row in rows if len(row) != len(names) + 1]:
        raise ValueError(
            f"expected a file name and {len(names)} values per line in {path}, got "
            f"{wrong[0][:3]}...; correct the line"
        )
    values = {name: [float(row[i + 1]) for row in rows] for i, name in enumerate(names)}
    return pa.table({"file": [row[0] for row in rows], **values})
