"""What Dagster is told of the recipes: assets, jobs, resources, and what is wrong with which."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from invertory.pipelines import retry as retrying
from invertory.pipelines.assets import assets_of
from invertory.pipelines.definitions import defs
from invertory.pipelines.progress.display import Silent
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.recipe.recipe import RECIPES
from invertory.pipelines.retry import Retry
from invertory.resources.gpu import Gpu

LATENTS = "latents/image2stylegan"
ON_DEVICE = {"samples", "latents", "edits", "augmentation"}
UP_FOR_RETRY = dg.DagsterEventType.STEP_UP_FOR_RETRY


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dg.Definitions:
    """What is served of the repository's own recipes."""
    monkeypatch.setenv("INVERTORY_RECIPES", str(RECIPES))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return defs()


def tables(definitions: dg.Definitions) -> list[dg.AssetsDefinition]:
    assets = (a for a in definitions.assets or () if isinstance(a, dg.AssetsDefinition))
    return [asset for asset in assets if asset.key.path[0] != "models"]  # those are trainings


def steps(done: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> list[str]:
    return [str(e.step_key) for e in done.all_events if e.event_type == kind]


def test_every_recipe_is_a_group_of_assets_under_its_name(served):
    groups = {spec.group_name for asset in tables(served) for spec in asset.specs}
    assert groups == {path.stem for path in RECIPES.glob("*.yaml")}
    for asset in tables(served):
        assert asset.key.path[0] == asset.specs_by_key[asset.key].group_name


def test_methods_lie_side_by_side(served):
    keys = {asset.key.to_user_string() for asset in tables(served)}
    for table in ("latents", "boundaries", "edits"):
        assert {f"faces/{table}_image2stylegan", f"faces/{table}_projector"} <= keys


def test_every_asset_says_who_what_and_how(served):
    for asset in tables(served):
        spec = asset.specs_by_key[asset.key]
        name = asset.key.path[1].split("_")[0]
        assert len(spec.description or "") > 20, asset.key
        assert "parquet" in spec.kinds
        assert ("pytorch" in spec.kinds) == (name in ON_DEVICE)
        assert spec.owners == ["team:invertory"]
        assert spec.code_version
        assert spec.metadata["recipe"] == asset.key.path[0]


def test_what_computes_on_a_device_is_in_its_pool_and_gets_it_injected(served):
    for asset in tables(served):
        is_on_device = asset.key.path[1].split("_")[0] in ON_DEVICE
        assert (asset.op.pool == "gpu") == is_on_device
        assert ("gpu" in asset.required_resource_keys) == is_on_device
        assert {"tables", "models", "reporting"} <= asset.required_resource_keys


def test_every_asset_is_tried_again_as_often_as_the_recipe_says(make_world):
    world = make_world(resources={"device": "cpu", "retries": 4})
    assert {asset.op.retry_policy for asset in tables(world.definitions)} == {Retry(4)}


def test_shards_are_dynamic_partitions_of_their_recipe(make_world):
    world = make_world(is_scored=True)
    for asset in tables(world.definitions):
        found = asset.partitions_def
        (stage,) = (s for s in world.chain.stages if s.asset_path == list(asset.key.path))
        if stage.is_sharded:
            assert isinstance(found, dg.DynamicPartitionsDefinition)
            assert found.name == "toy_shards"
        else:
            assert found is None


def test_no_run_holds_a_slot_and_a_limit_of_the_pool_is_named(make_world):
    world = make_world("a", is_kept=True)
    storage = world.instance.event_log_storage
    assert world.instance.global_op_concurrency_default_limit is None
    assert storage.get_pool_config().pool_granularity.value == "run"
    assert storage.get_pool_limits() == []
    storage.set_concurrency_slots("gpu", 1)  # `dagster instance concurrency set gpu 1`
    (limit,) = storage.get_pool_limits()
    assert (limit.name, limit.limit, limit.from_default) == ("gpu", 1, False)


def test_the_command_line_takes_no_part_in_the_pool(make_world):
    world = make_world("a")
    found = assets_of(world.recipe, world.chain, {}, pool=None)
    assert {asset.op.pool for asset in found if isinstance(asset, dg.AssetsDefinition)} == {None}


def test_a_broken_recipe_is_left_out_and_hides_none(make_world, monkeypatch, caplog):
    world = make_world("a")
    folder = world.folder / "recipes"
    (folder / "wrong.yaml").write_text("name: wrong\ncollecton: {uri: ./pictures}\n")
    (folder / "worse.yaml").write_text("name: [\n")
    monkeypatch.setenv("INVERTORY_RECIPES", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(world.folder / "home"))
    with caplog.at_level(logging.ERROR):
        found = defs()
    assert {asset.key.path[0] for asset in tables(found)} == {"toy"}
    assert "wrong.yaml is left out" in caplog.text
    assert "did you mean" in caplog.text.lower() or "collection" in caplog.text
    assert "worse.yaml is left out" in caplog.text


def test_a_recipe_under_a_name_that_is_taken_is_left_out(make_world, monkeypatch, caplog):
    world = make_world("a")
    home = world.folder / "home" / "recipes"
    home.mkdir(parents=True)
    (home / "other.yaml").write_text((world.folder / "recipes" / "toy.yaml").read_text())
    monkeypatch.setenv("INVERTORY_RECIPES", str(world.folder / "recipes"))
    monkeypatch.setenv("DAGSTER_HOME", str(home.parent))
    with caplog.at_level(logging.ERROR):
        assert len(tables(defs())) == len(world.chain.stages)
    assert "the name 'toy' is taken by toy.yaml" in caplog.text


def test_the_workspace_loads_in_a_process_of_its_own(make_world):
    world = make_world("a")
    (world.folder / "recipes" / "wrong.yaml").write_text("name: wrong\n")
    told = {
        "INVERTORY_RECIPES": str(world.folder / "recipes"),
        "DAGSTER_HOME": str(world.folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    command = [Path(sys.executable).with_name("dagster"), "definitions", "validate"]
    workspace = RECIPES.parent / "workspace.yaml"
    (world.folder / "home").mkdir()
    done = subprocess.run(
        [*map(str, command), "-w", str(workspace)],
        env=os.environ | told,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation successful for code location invertory" in done.stdout + done.stderr


class Interrupted(Reporting):
    """Where the user presses Ctrl-C as soon as a stage begins."""

    def to(self, context: Any) -> Any:
        class Stopped(Silent):
            def stage(self, name: str, total: int, start: int = 0) -> Any:
                raise KeyboardInterrupt

        return Stopped()


def test_what_is_interrupted_is_not_tried_again(make_world, monkeypatch):
    monkeypatch.setattr(retrying, "DELAY_S", 0.01)
    world = make_world("a")
    world.deal()
    assert not world.run("images", "aligned", reporting=Interrupted()).success
    (run,) = world.instance.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE  # canceled, where the UI asked for it
    kinds = {entry.dagster_event_type for entry in world.instance.all_logs(run.run_id)}
    assert UP_FOR_RETRY not in kinds


def test_what_may_pass_is_tried_again_and_a_device_is_leased_only_for_work(make_world, monkeypatch):
    monkeypatch.setattr(retrying, "DELAY_S", 0.01)
    world = make_world("a")
    world.deal()
    assert world.run("images", "aligned").success
    taken = Gpu(device="cpu", lock_dir=str(world.folder / "locks"), cpu_slots=1)
    gpu = Gpu(device="cpu", lock_dir=taken.lock_dir, cpu_slots=1, timeout_s=0.0)
    with taken.lease():
        done = world.run(LATENTS, gpu=gpu)
        assert not done.success
        assert "expected a free device within 0 s" in world.errors(done)[0]
        assert len(steps(done, UP_FOR_RETRY)) == 1
    assert world.run(LATENTS, gpu=gpu).success
    with taken.lease():
        assert world.run(LATENTS, gpu=gpu).success  # it is there: nothing to compute
    assert world.event(LATENTS).metadata["reused"].value is True


def test_what_would_fail_again_is_not_tried_again(make_world):
    fit = {"fit": "collection", "ratio": 0.5, "solver": "linear"}
    world = make_world("a", is_scored=True)
    world.change(**world.scored() | {"boundaries": {"warm": fit, "bright": fit}})
    done = world.run("boundaries/image2stylegan", shard=None)
    assert "expected scored latents, got no rows" in world.errors(done)[0]
    assert steps(done, UP_FOR_RETRY) == []
