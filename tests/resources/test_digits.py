"""The digits of scikit-learn as a collection."""

from __future__ import annotations

import numpy as np
import pytest

from invertory.images import decode
from invertory.resources.digits import digits, names
from invertory.resources.sources import ImageSource


def test_all_digits_are_listed_by_number_and_label() -> None:
    entries = list(ImageSource(uri="digits://").entries())
    assert len(entries) == 1797
    assert entries[0].uri == "digits://000000-0.png"
    assert [int(entry.uri[-5]) for entry in entries] == digits()[1].tolist()


def test_a_digit_is_read_as_it_was_written() -> None:
    source = ImageSource(uri="digits://")
    name = "digits://000012-2.png"
    picture = decode(source.read(name)).pixels
    assert picture.shape == (8, 8, 3)
    assert np.array_equal(picture[..., 0], digits()[0][names()["000012-2.png"]])
    assert picture.max() == 255 and picture.min() == 0
    assert [entry.uri for entry in ImageSource(uri=name).entries()] == [name]


def test_a_pattern_selects_one_digit() -> None:
    found = list(ImageSource(uri="digits://", pattern="*-7.png").entries())
    assert len(found) == int((digits()[1] == 7).sum())


def test_an_invalid_digit_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="expected a digit such as"):
        ImageSource(uri="digits://").read("digits://000012-3.png")
