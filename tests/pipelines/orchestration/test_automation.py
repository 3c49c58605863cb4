"""What runs by itself: each new picture once, each missing or stale table, and no more."""

import errno
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from invertory.pipelines import automation
from invertory.resources.sources import ImageSource

SHARD = "shard-000001"
NIGHT = {"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Paris"}}


def tick(world: Any, name: str = "new_images", cursor: str | None = None) -> Any:
    """One tick of a sensor, as the daemon makes it; its partitions are added as it asks."""
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(
        instance_ref=world.instance.get_ref(),
        cursor=cursor,
        resources=world.resources,
        repository_def=repository,
    ) as context:
        found = repository.get_sensor_def(f"toy_{name}").evaluate_tick(context)
    for request in found.dynamic_partitions_requests or ():
        keys = list(request.partition_keys)
        world.instance.add_dynamic_partitions(request.partitions_def_name, keys)
    return found


def at_two(world: Any, name: str = "catch_up") -> Any:
    """The schedule's evaluation at its hour."""
    repository = world.definitions.get_repository_def()
    with dg.build_schedule_context(
        instance=world.instance,
        resources=world.resources,
        scheduled_execution_time=datetime(2030, 1, 2, 1, tzinfo=UTC),
        repository_def=repository,
    ) as context:
        return repository.get_schedule_def(f"toy_{name}").evaluate_tick(context)


def asked(found: Any) -> list[str | None]:
    return [request.partition_key for request in found.run_requests]


def job(world: Any, name: str, shard: str | None = None) -> dg.ExecuteInProcessResult:
    """A run of a job, told to an instance in memory: what is missing stands in the store alone."""
    found = world.definitions.get_repository_def().get_job(f"toy_{name}")
    with dg.DagsterInstance.ephemeral(str(world.folder)) as instance:
        instance.add_dynamic_partitions("toy_shards", world.store.shards("entries"))
        return found.execute_in_process(
            partition_key=shard, instance=instance, raise_on_error=False
        )


def test_the_sensor_deals_new_pictures_and_asks_for_each_shard_once(make_world):
    world = make_world("abcdef", is_kept=True)
    first = tick(world)
    assert asked(first) == ["shard-000001", "shard-000002"]
    assert world.instance.get_dynamic_partitions("toy_shards") == asked(first)
    second = tick(world, cursor=first.cursor)
    assert asked(second) == []
    assert second.skip_message == f"no new image in {world.folder}/pictures"
    world.add_pictures("x")
    third = tick(world, cursor=first.cursor)
    assert asked(third) == ["shard-000003"]
    assert world.store.num_rows("entries", "shard-000003") == 1


def test_a_lost_cursor_asks_again_under_the_same_run_keys(make_world):
    world = make_world("abcdef", is_kept=True)
    first, again = tick(world), tick(world)
    keys = [request.run_key for request in first.run_requests]
    assert keys == [request.run_key for request in again.run_requests]
    assert len(set(keys)) == 2


def test_a_shard_that_was_run_from_the_command_line_is_not_run_again(make_world):
    world = make_world("abcdef", is_kept=True)
    world.deal()
    assert world.run("images", shard="shard-000001").success
    first = tick(world)
    assert asked(first) == ["shard-000002"]
    assert world.run("images", shard="shard-000002").success
    found = tick(world)
    assert found.skip_message == "a run has begun every new shard already"
    assert found.cursor == first.cursor


def test_the_same_shard_name_of_other_pictures_has_another_run_key(make_world):
    world = make_world("ab", is_kept=True)
    (before,) = tick(world).run_requests
    (world.folder / "store/toy/entries/shard-000001.parquet").unlink()
    world.add_pictures("c")
    (after,) = tick(world).run_requests
    assert before.partition_key == after.partition_key
    assert before.run_key != after.run_key


def test_a_file_that_is_being_written_waits(make_world):
    world = make_world("ab", is_kept=True, sensor={"settle_s": 60.0})
    long_ago = time.time() - 3600
    os.utime(world.folder / "pictures" / "a.png", (long_ago, long_ago))
    first = tick(world)
    assert world.store.table("entries", SHARD).column("uri").to_pylist() == [
        f"{world.folder}/pictures/a.png"
    ]
    os.utime(world.folder / "pictures" / "b.png", (long_ago, long_ago))
    assert asked(tick(world, cursor=first.cursor)) == ["shard-000002"]


def test_a_missing_collection_is_a_reason_to_skip(make_world):
    world = make_world("a", is_kept=True, collection={"uri": "/nowhere/pictures"})
    found = tick(world)
    assert asked(found) == []
    assert "the collection cannot be listed" in found.skip_message
    assert "/nowhere/pictures" in found.skip_message


def test_a_broken_archive_is_a_reason_to_skip(make_world):
    world = make_world("a", is_kept=True)
    (world.folder / "half.tar").write_bytes(b"not a tar")
    world.change(collection={"uri": str(world.folder / "half.tar")})
    assert "the collection cannot be listed" in tick(world).skip_message


OPENED: list[str] | None = None


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if OPENED is not None and event == "open":
        OPENED.append(str(arguments[0]))


def test_no_picture_is_opened_to_find_the_new_ones(make_world, monkeypatch):
    world = make_world("abcdef", is_kept=True)
    first = tick(world)
    world.add_pictures("x")
    sys.addaudithook(_note_opened)  # cannot be removed; does nothing where nobody listens
    opened: list[str] = []
    monkeypatch.setattr(sys.modules[__name__], "OPENED", opened)
    assert asked(tick(world, cursor=first.cursor)) == ["shard-000003"]
    assert opened
    assert not [path for path in opened if path.endswith(".png")]


def test_a_picture_in_two_places_of_a_collection_is_dealt_once(make_world):
    world = make_world("ab", is_kept=True)
    (world.folder / "pictures" / "in").mkdir()
    (world.folder / "pictures" / "a.png").rename(world.folder / "pictures" / "in" / "a.png")
    places = [str(world.folder / "pictures"), str(world.folder / "pictures" / "in")]
    world.change(collection={"uri": places})
    world.deal()
    uris = world.store.table("entries", SHARD).column("uri").to_pylist()
    assert sorted(Path(uri).name for uri in uris) == ["a.png", "b.png"]


def test_a_tick_deals_and_asks_for_a_bounded_number_of_shards(make_world, monkeypatch):
    monkeypatch.setattr(automation, "RUNS_A_TICK", 2)
    world = make_world("abcde", is_kept=True)
    world.change(collection={"uri": str(world.folder / "pictures"), "shard_size": 1})
    first = tick(world)
    assert asked(first) == ["shard-000001", "shard-000002"]
    assert world.store.shards("entries") == asked(first)
    world.deal()  # somebody else's, or a tick that was cut off
    second = tick(world, cursor=first.cursor)
    assert asked(second) == ["shard-000003", "shard-000004"]
    assert asked(tick(world, cursor=second.cursor)) == ["shard-000005"]


def test_the_job_of_a_shard_makes_everything_but_the_export(make_world):
    world = make_world("abcdef", is_kept=True, is_scored=True)
    for shard in asked(tick(world)):
        assert job(world, "invert_shard", shard).success
    missing = {step.stage.table for step in world.chain.pending(world.store)}
    assert missing == {"exports/image2stylegan"}
    assert job(world, "export_set").success
    assert not list(world.chain.pending(world.store))


def test_the_export_waits_until_it_is_all_that_is_missing_and_is_asked_for_once(make_world):
    world = make_world("abcdef", is_kept=True, is_scored=True)
    shards = asked(tick(world))
    assert tick(world, "export_when_ready").skip_message == "waits for images of shard-000001"
    assert job(world, "invert_shard", shards[0]).success
    assert tick(world, "export_when_ready").skip_message == "waits for images of shard-000002"
    assert job(world, "invert_shard", shards[1]).success
    (first,) = tick(world, "export_when_ready").run_requests
    (again,) = tick(world, "export_when_ready").run_requests
    assert first.run_key == again.run_key
    assert first.partition_key is None
    assert job(world, "export_set").success
    assert tick(world, "export_when_ready").skip_message == "every table is up to date"

    world.add_pictures("x")
    assert job(world, "invert_shard", asked(tick(world, cursor=shards[1]))[0]).success
    (new,) = tick(world, "export_when_ready").run_requests
    assert new.run_key != first.run_key


def test_boundaries_of_a_collection_wait_for_all_its_shards(make_world):
    world = make_world("abcdefghijkl", is_kept=True, is_scored=True)
    fit = {"fit": "collection", "ratio": 0.5, "solver": "linear"}
    world.change(**world.scored() | {"boundaries": {"warm": fit, "bright": fit}})
    shards = asked(tick(world))
    assert job(world, "invert_shard", shards[0]).success
    assert "boundaries/image2stylegan" not in world.store.tables()
    assert tick(world, "edit_when_ready").skip_message == "waits for images of shard-000002"
    for shard in shards[1:]:
        assert job(world, "invert_shard", shard).success
    first = tick(world, "edit_when_ready")
    assert asked(first) == shards
    waits = "waits for boundaries/image2stylegan of all"
    assert tick(world, "export_when_ready").skip_message == waits
    assert job(world, "edit_shard", shards[0]).success
    again = tick(world, "edit_when_ready").run_requests  # the other runs may be under way
    assert [r.run_key for r in again] == [r.run_key for r in first.run_requests][1:]
    for shard in shards[1:]:
        assert job(world, "edit_shard", shard).success
    assert tick(world, "edit_when_ready").skip_message == "every table is up to date"
    assert len(tick(world, "export_when_ready").run_requests) == 1


def test_the_schedule_asks_for_what_is_missing_or_stale_and_nothing_else(make_world):
    world = make_world("abcdef", is_kept=True, **NIGHT)
    assert at_two(world).skip_message == "waits for the first shard"
    shards = asked(tick(world))
    assert asked(at_two(world)) == shards
    assert job(world, "invert_shard", shards[0]).success
    assert asked(at_two(world)) == shards[1:]
    assert job(world, "invert_shard", shards[1]).success
    assert at_two(world).skip_message == "every table is up to date"
    (world.folder / "store/toy/aligned/shard-000002.parquet").unlink()
    assert asked(at_two(world)) == shards[1:]
    world.change(**NIGHT, methods={"image2stylegan": {"steps": 3}})
    assert asked(at_two(world)) == shards


def test_the_schedule_comes_by_for_what_spans_all_shards(make_world):
    world = make_world("ab", is_kept=True, is_scored=True, **NIGHT)
    (shard,) = asked(tick(world))
    assert job(world, "invert_shard", shard).success
    (world.folder / "store/toy/models/all.parquet").unlink()
    assert asked(at_two(world)) == [shard]
    assert at_two(world, "catch_up_export").skip_message == "waits for models of all"
    assert job(world, "invert_shard", shard).success
    assert asked(at_two(world, "catch_up_export")) == [None]


def test_the_schedule_is_the_recipes(make_world):
    assert make_world("a", is_kept=True).definitions.schedules in (None, [])
    (schedule,) = make_world("a", is_kept=True, **NIGHT).definitions.schedules
    assert schedule.name == "toy_catch_up"
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "Europe/Paris")


@pytest.mark.parametrize("name", ["new_images", "export_when_ready"])
def test_sensors_look_as_often_as_the_recipe_says_and_are_off_at_first(make_world, name):
    world = make_world("a", is_kept=True, is_scored=True, sensor={"interval_s": 17})
    (sensor,) = (found for found in world.definitions.sensors if found.name == f"toy_{name}")
    assert sensor.minimum_interval_seconds == 17
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_unread_files_hold_no_later_phase_back_and_are_asked_for_by_the_schedule(
    make_world, monkeypatch
):
    world = make_world("abcd", is_scored=True, is_kept=True, **NIGHT)
    read = ImageSource.read

    def denied(self, uri):
        if uri.endswith("a.png"):
            raise PermissionError(errno.EACCES, "permission denied", uri)
        return read(self, uri)

    world.deal()
    with monkeypatch.context() as patch:
        patch.setattr(ImageSource, "read", denied)
        world.run_all()
        assert [step.is_retry for step in world.chain.pending(world.store)] == [True]
        assert tick(world).run_requests == []
        assert tick(world, "export_when_ready").skip_message == "every table is up to date"
        index = world.folder / "store/toy/exports/image2stylegan/all.parquet"
        index.rename(index.with_name("kept"))
        assert asked(tick(world, "export_when_ready")) == [None]
        index.with_name("kept").rename(index)
        assert asked(at_two(world)) == [SHARD]
        before = world.store.key("images", SHARD)
        assert world.run("images").success
        assert world.store.key("images", SHARD) == before
        assert world.event("images", SHARD).tags["dagster/data_version"] == before
    assert world.run("images").success
    assert {step.is_retry for step in world.chain.pending(world.store)} == {False}
    world.run_all()
    assert not list(world.chain.pending(world.store))
    assert at_two(world).skip_message == "every table is up to date"
