"""An outage that passes leaves no trace: the tables are those of a store that never saw it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.recipe.recipe import Recipe
from invertory.resources.models import ModelStore
from invertory.resources.outages import patient
from invertory.resources.tables import Store

NUM = 10
ROOT = "flaky://pictures"
Fault = Callable[[str], Exception | None]


class ReplyError(Exception):
    """As HTTP clients raise it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server replied {status}")
        self.status = status


class Flaky(MemoryFileSystem):
    """Files in memory; `fault` says what reading one raises."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fault: ClassVar[Fault] = staticmethod(lambda path: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("flaky://", "memory://"))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> Any:
        if error := Flaky.fault(path):
            raise error
        return super().cat_file(path, start, end, **options)


def failing(make: Callable[[], Exception], every: int, store: Callable[[], bool]) -> Fault:
    """`make()` for every file whose number `every` divides, while `store()`."""

    def fault(path: str) -> Exception | None:
        is_hit = int(Path(path).stem) % every == 0
        return make() if is_hit and store() else None

    return fault


ERRORS: dict[str, Callable[[], Exception]] = {
    "503": lambda: ReplyError(503),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "reset by peer"),
    "disk": lambda: OSError(errno.EIO, "input/output error"),
    "denied": lambda: PermissionError(errno.EACCES, "permission denied"),
    "401": lambda: ReplyError(401),
    "strange": lambda: RuntimeError("a word of the client's own"),
}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between tries."""
    for page in ("images", "aligned"):
        at_once = partial(patient, first_wait_s=0.0)
        monkeypatch.setattr(f"invertory.pipelines.tables.{page}.patient", at_once)
    monkeypatch.setattr("invertory.pipelines.retry.DELAY_S", 0.01)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, draw_pictures) -> Iterator[None]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    for path in draw_pictures(tmp_path_factory.mktemp("drawn"), NUM):
        Flaky().pipe_file(f"/pictures/{path.name}", path.read_bytes())
    yield
    Flaky.store.clear()


@pytest.fixture
def flaky(pictures, place, short_recipe, monkeypatch):
    """A place with a recipe on the flaky source; `fault` sets what fails."""
    monkeypatch.setattr(Flaky, "fault", staticmethod(lambda path: None))
    recipe = short_recipe(ROOT)
    recipe["resources"]["retries"] = 1
    place.write(recipe)
    return place


@pytest.fixture(scope="module")
def undisturbed(pictures, tmp_path_factory, open_place, short_recipe, read_tables) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = open_place(folder, monkeypatch)
        recipe = short_recipe(ROOT)
        recipe["resources"]["retries"] = 1
        place.write(recipe)
        place.run()
        return read_tables(Store(str(folder / "store"), "toy"))


def set_fault(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(Flaky, "fault", staticmethod(fault))


def started(place: Any, table: str) -> Callable[[], bool]:
    """True from when `table` is next: what it reads is published."""
    return lambda: table == "images" or bool(place.store.shards("images"))


@pytest.mark.parametrize("table", ["images", "aligned"])
@pytest.mark.parametrize(("error", "every"), [("503", 1), ("reset", 10), ("disk", 1)])
def test_a_run_in_an_outage_fails_and_the_next_one_makes_all(
    flaky, undisturbed, read_tables, monkeypatch, table, error, every
):
    set_fault(monkeypatch, failing(ERRORS[error], every, started(flaky, table)))
    code, _, errors = flaky.invertory("run", "toy.yaml")
    assert code == 1
    assert "out of reach" in errors
    assert table not in flaky.store.tables()
    set_fault(monkeypatch, lambda path: None)
    flaky.run()
    assert read_tables(flaky.store) == undisturbed


def test_an_outage_that_ends_before_the_step_is_tried_again_is_not_seen(
    flaky, undisturbed, read_tables, monkeypatch
):
    calls = iter(range(1_000))
    set_fault(monkeypatch, lambda path: ReplyError(503) if next(calls) < 3 * NUM else None)
    flaky.run()
    assert read_tables(flaky.store) == undisturbed


@pytest.mark.parametrize("table", ["images", "aligned"])
@pytest.mark.parametrize(("error", "every"), [("denied", 10), ("401", 5), ("strange", 10)])
def test_what_cannot_be_read_now_is_read_at_the_next_run(
    flaky, undisturbed, read_tables, monkeypatch, table, error, every
):
    set_fault(monkeypatch, failing(ERRORS[error], every, started(flaky, table)))
    number = len(range(0, NUM, every))
    found = {row["table"]: row for row in flaky.run()["status"]["tables"]}
    assert found[table]["num_retried"] == number
    assert sum(row["num_pending"] for row in found.values()) == 0
    before = read_tables(flaky.store)
    again = flaky.run()
    assert (again["num_computed"], again["failures"]) == (0, [])
    after = read_tables(flaky.store)
    assert {place: shard[2]["key"] for place, shard in after.items()} == {
        place: shard[2]["key"] for place, shard in before.items()
    }
    set_fault(monkeypatch, lambda path: None)
    assert flaky.run()["failures"] == []
    assert read_tables(flaky.store) == undisturbed
    assert flaky.run()["is_up_to_date"]


def test_a_share_of_denied_files_above_the_limit_does_not_stick(
    flaky, undisturbed, read_tables, monkeypatch
):
    set_fault(monkeypatch, failing(ERRORS["denied"], 1, lambda: True))
    code, _, errors = flaky.invertory("run", "toy.yaml")
    assert code == 1
    assert f"read again at the next run {NUM}" in " ".join(errors.split())
    set_fault(monkeypatch, lambda path: None)
    flaky.run()
    assert read_tables(flaky.store) == undisturbed


def test_a_place_that_is_gone_is_an_outage_and_a_file_that_is_gone_is_not(tmp_path, short_recipe):
    folder = tmp_path / "pictures"
    folder.mkdir()
    recipe = Recipe.model_validate(short_recipe(str(folder)))
    source = Collection(recipe, ModelStore())
    with pytest.raises(FileNotFoundError):
        source.read(f"{folder}/a.png")
    folder.rmdir()
    with pytest.raises(ConnectionError, match="is not there"):
        source.read(f"{folder}/a.png")
