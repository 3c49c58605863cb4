"""Labels looked up by file name."""

import pyarrow as pa
import pytest

from invertory.ops.labels import LabelTable
from invertory.scoring import BadScore

TABLE = pa.table({
    "file": ["a.jpg", "sub/a.jpg", "b.jpg", "c.jpg"],
    "old": [1, -1, None, 1],
    "glasses": [True, False, True, False],
    "word": ["x", "y", "z", "w"],
})  # fmt: skip


def labels(**options):
    return LabelTable(TABLE, {"age": "old", "glasses": "glasses"}, **options)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a.jpg", {"age": 1.0, "glasses": 1.0}),
        ("s3://bucket/deep/sub/a.jpg", {"age": -1.0, "glasses": 0.0}),  # the longest end counts
        ("/other/a.jpg", {"age": 1.0, "glasses": 1.0}),
        ("pictures.tar::sub/a.jpg", {"age": -1.0, "glasses": 0.0}),
        ("pictures.tar::a.jpg", {"age": 1.0, "glasses": 1.0}),
    ],
)
def test_an_image_is_looked_up_by_the_end_of_its_path(uri, expected):
    assert labels().find(uri) == expected


def test_the_uri_is_converted_to_a_path_first():
    assert labels(plain=lambda uri: uri.replace("%2E", ".")).find("c%2Ejpg")["age"] == 1.0


def test_missing_rows_and_labels_are_reported():
    assert labels(source="mine.csv").find("bca.jpg") == BadScore("mine.csv has no row for it")
    assert labels(source="mine.csv").find("b.jpg") == BadScore("mine.csv has no age for it")


@pytest.mark.parametrize(
    ("columns", "key", "expected"),
    [
        ({"age": "odl"}, None, "expected a column 'odl' in the table"),
        ({"age": "old"}, "name", "expected a column 'name' in the table"),
        ({"age": "old"}, "glasses", "expected a distinct file name in each row"),
        ({"age": "word"}, None, "expected numbers or booleans in column 'word'"),
    ],
)
def test_an_invalid_table_is_refused(columns, key, expected):
    with pytest.raises(ValueError, match=expected):
        LabelTable(TABLE, columns, key=key)


def test_the_first_column_is_the_default_key():
    found = LabelTable(TABLE.rename_columns(["who", "old", "glasses", "word"]), {"age": "old"})
    assert found.find("a.jpg") == {"age": 1.0}
