"""Portraits as a collection: listed without rendering, rendered when read."""

import hashlib
import io

import pytest
from PIL import Image

from invertory.resources.portraits import Portraits, portrait_at
from invertory.resources.sources import ImageSource

ADDRESS = "portraits://?num=%d&seed=4&size_px=16&ood=0.5&glasses|male=0.8"


def uris(address):
    return [entry.uri for entry in ImageSource(uri=address).entries()]


def test_a_portrait_always_has_the_same_bytes():
    (uri,) = uris(ADDRESS % 1)
    Portraits.parse(ADDRESS % 1)
    digests = {hashlib.sha256(ImageSource(uri="x").read(uri)).hexdigest() for _ in range(2)}
    again = Portraits.parse(ADDRESS % 9).image(0)
    assert digests == {hashlib.sha256(again).hexdigest()}
    assert Image.open(io.BytesIO(again)).size == (16, 16)


def test_a_growing_collection_keeps_its_names():
    assert uris(ADDRESS % 3) == uris(ADDRESS % 5)[:3]
    assert uris(ADDRESS % 3)[2].endswith("/000002.png")


def test_equal_worlds_have_equal_names_however_they_are_written():
    other = "portraits://size_px=16&glasses | male=0.8&ood=0.5&seed=4&num=3"
    assert uris(other) == uris(ADDRESS % 3)


def test_another_seed_is_another_collection():
    source = ImageSource(uri="x")
    found = {source.read(uris(f"portraits://?num=1&size_px=16&seed={s}")[0]) for s in range(3)}
    assert len(found) == 3


def test_the_portrait_at_an_address_is_the_one_rendered():
    uri = uris(ADDRESS % 2)[1]
    assert portrait_at(uri) == Portraits.parse(ADDRESS % 2).portrait(1)
    assert portrait_at("/pictures/000001.png") is None


@pytest.mark.parametrize("name", ["1.png", "000001.jpg", "x.png", ""])
def test_an_invalid_portrait_has_vanished(name):
    uri = uris(ADDRESS % 1)[0].rpartition("/")[0] + f"/{name}"
    with pytest.raises(OSError):
        ImageSource(uri="x").read(uri)


def test_the_byte_limit_applies():
    with pytest.raises(OSError, match="at most 10 bytes"):
        ImageSource(uri="x", max_bytes=10).read(uris(ADDRESS % 1)[0])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("nmu=3", "did you mean 'num'"),
        ("num=0", "expected num from 1 to 1000000, got 0"),
        ("num=x", "expected a whole number for 'num', got 'x'"),
        ("size_px=3", "from 16 to 2048 px, got 3"),
        ("seed=-1", "expected seed from 0"),
        ("glases=1", "did you mean 'glasses'"),
        ("just words", "unknown setting 'just words'"),
    ],
)
def test_an_invalid_address_is_refused(query, expected):
    with pytest.raises(ValueError, match=expected):
        Portraits.parse(f"portraits://?{query}")
    with pytest.raises(FileNotFoundError, match=expected):
        uris(f"portraits://?{query}")
