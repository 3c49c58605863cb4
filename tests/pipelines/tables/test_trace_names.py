"""`trace` finds a file by every name that a person may give it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pyarrow as pa
import pytest

from invertory.ops.schemas import IMAGES
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.trace import NotFoundError, trace
from invertory.resources.entries import decode, encode
from invertory.resources.roots import Roots
from invertory.resources.tables import Store

NFD = unicodedata.normalize("NFD", "Zoë.png")
NAMES = ["my photo.png", "50%25.png", "a%20b.png", NFD, "two::parts.png", "003.png", "[x] #1.png"]


@pytest.fixture(params=["pictures", "${ROOT}"])
def traced(request, tmp_path, monkeypatch) -> Callable[[str], list[str]]:
    """traced(wanted): the URIs that `trace` finds for it among NAMES, below either root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOT", str(tmp_path / "pictures"))
    roots = Roots([request.param])
    uris = [encode(f"{request.param}/sub/{name}") for name in NAMES]
    uris += ["pictures/more.tar::m/004.png", "http://host/my%2520other.png"]
    rows = [dict.fromkeys(IMAGES.names) | {"uri": uri, "status": "ok"} for uri in uris]
    rows = [row | {"image_id": f"{i:064x}"} for i, row in enumerate(rows, start=1)]
    store = Store(str(tmp_path / "store"), "toy")
    batch = pa.RecordBatch.from_pylist(rows, schema=IMAGES)
    store.write("images", "shard-000001", [batch], schema=IMAGES, key="k" * 16, footer={})

    def find(wanted: str) -> list[str]:
        found = trace(Chain("toy", ()), store, wanted, lambda uri: roots.opened(decode(uri)))
        return [row["uri"] for row in found["tables"]["images"]["rows"]]

    return find


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form", ["{}", "sub/{}", "pictures/sub/{}", "./pictures/sub/{}", "absolute"]
)
def test_a_file_is_found_by_its_real_name(traced, tmp_path, name, form):
    absolute = str(tmp_path / "pictures/sub" / name)
    (uri,) = traced(absolute if form == "absolute" else form.format(name))
    assert decode(uri).endswith(f"/sub/{name}")
    assert traced(uri) == [uri]


def test_a_file_is_found_composed_and_percent_encoded(traced):
    assert traced(unicodedata.normalize("NFC", NFD)) == traced(NFD)
    assert traced("my%20photo.png") == traced("my photo.png")
    assert traced("my other.png") == ["http://host/my%2520other.png"]
    assert traced("http://host/my%20other.png") == traced("my other.png")


def test_a_member_is_found_by_its_name(traced):
    for wanted in ("004.png", "m/004.png", "more.tar::m/004.png"):
        assert traced(wanted) == ["pictures/more.tar::m/004.png"]


@pytest.mark.parametrize("wanted", ["photo.png", "other/003.png", "/pictures/sub/003.png", "3.png"])
def test_what_is_not_there_is_not_found(traced, wanted):
    with pytest.raises(NotFoundError, match="expected an image_id"):
        traced(wanted)
