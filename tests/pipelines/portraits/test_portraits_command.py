"""`invertory portraits` from the command line: what it draws, and what it refuses."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from invertory.portraits import ATTRIBUTES, SEGMENTS, draw, render, row_seed
from invertory.resources.sources import ImageSource


def test_the_command_draws_a_labelled_collection(place):
    told = place.json("portraits", "--num", "5", "--size", "32", "--set", "glasses=1",
                      "age_years=70", "--out", "drawn")  # fmt: skip
    assert told["address"].startswith("portraits://?num=5&seed=0&size_px=32&")
    rows = pq.read_table(place.folder / "drawn/attributes.parquet").to_pylist()
    assert [row["file"] for row in rows] == [f"{i:06d}.png" for i in range(5)]
    assert set(rows[0]) == {"file", "seed", "landmarks", *ATTRIBUTES}
    assert {row["age_years"] for row in rows} == {70} and rows[0]["seed"] == row_seed(0, 0)
    assert np.array(rows[0]["landmarks"]).shape == (68, 2)
    for folder, mode in (("pictures", "RGB"), ("segmentations", "P")):
        with Image.open(place.folder / "drawn" / folder / "000004.png") as picture:
            assert (picture.size, picture.mode) == ((32, 32), mode)
            assert folder == "pictures" or np.asarray(picture).max() < len(SEGMENTS)
    with Image.open(told["sheet"]) as sheet:
        assert sheet.width > 128


def test_the_commands_pictures_are_those_of_the_address(place):
    told = place.json("portraits", "--num", "2", "--size", "32", "--seed", "3", "--out", "drawn")
    source = ImageSource(uri=told["address"])
    files = sorted((place.folder / "drawn/pictures").iterdir())
    assert [source.read(e.uri) for e in source.entries()] == [f.read_bytes() for f in files]
    picture = render(draw(row_seed(3, 1)), 32).image
    assert np.array_equal(np.asarray(Image.open(files[1])), picture)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "glases=1"], "did you mean 'glasses'?"),
        (["--set", "glasses|mal=1"], "did you mean male"),
        (["--set", "glasses"], "write glasses=1"),
        (["--size", "3"], "expected size_px from 16 to 2048 px, got 3"),
        (["--num", "0"], "expected num from 1"),
        (["--ood", "2"], "expected ood from 0 to 1"),
    ],
)
def test_impossible_portraits_are_refused_before_anything_is_drawn(place, options, expected):
    code, _, errors = place.invertory("portraits", *options)
    assert code == 2 and expected in errors
    assert not (place.folder / "portraits").exists()


def test_a_folder_of_something_else_is_left_alone(place):
    (place.folder / "mine").mkdir()
    (place.folder / "mine/letter.txt").write_text("dear")
    code, _, errors = place.invertory("portraits", "--num", "1", "--out", "mine")
    assert code == 2 and "expected an empty folder" in errors
    assert [path.name for path in (place.folder / "mine").iterdir()] == ["letter.txt"]
