"""Tables of labels read from files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.resources.labels import read_labels

CELEBA = "2\nSmiling Male\n000001.jpg  1 -1\n000002.jpg -1 -1\n"


def test_celebas_list_is_read(tmp_path):
    (tmp_path / "list.txt").write_text(CELEBA)
    assert read_labels(tmp_path / "list.txt").to_pydict() == {
        "file": ["000001.jpg", "000002.jpg"], "Smiling": [1.0, -1.0], "Male": [-1.0, -1.0]
    }  # fmt: skip


def test_a_csv_is_read(tmp_path):
    (tmp_path / "labels.csv").write_text("file,glasses\na.png,true\nb.png,false\n")
    assert read_labels(tmp_path / "labels.csv").column("glasses").to_pylist() == [True, False]


def test_images_in_a_parquet_file_are_not_read(tmp_path):
    table = pa.table({"image": [{"bytes": b"x"}], "raw": [b"x"], "file": ["a"], "old": [1]})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert read_labels(tmp_path / "labels.parquet").column_names == ["file", "old"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "Smiling\n", "expected the number of rows in the first line"),
        ("a.txt", "", "an empty file"),
        ("a.txt", "1\nSmiling\na.jpg 1 2\n", "expected a file name and 1 values per line"),
        ("a.csv", "", "expected a table of labels"),
        ("a.parquet", "text", "expected a table of labels"),
    ],
)
def test_an_invalid_table_of_labels_is_refused(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_labels(tmp_path / name)


def test_a_header_in_another_encoding_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes("file,smile,n\u00fcme\na.png,1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"expected UTF-8 text in labels.csv.*iconv"):
        read_labels(path)
