"""Trainings in the graph: what depends on what, what a run shows, when it is tried again."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from invertory.pipelines.definitions import definitions_of, defs
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.retry import Retry
from invertory.pipelines.training import assets as training_assets
from invertory.pipelines.training.training import TRAININGS, load_training, valid_trainings
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
JUDGE: dict[str, Any] = {
    "name": "judge",
    "description": "Scores small portraits.",
    "trainer": "classifier",
    "data": {"portraits": {"num": 24, "size_px": 32}},
    "settings": {"held_out": 4, "widths": [4, 8]},
    "budget": {"images": 16, "batch_size": 8},
    "resources": {"device": "cpu", "precision": "float32", "processes": 1, "retries": 3},
}
PAINTER: dict[str, Any] = {
    "name": "painter",
    "trainer": "stylegan2",
    "data": {"portraits": {"num": 24, "size_px": 32}},
    "uses": {"classifier": "trained://judge"},
    "gives": {"generator": "painter", "discriminator": "critic"},
    "settings": {
        "channels": [4, 4, 4, 4],
        "discriminator_channels": [4, 4, 4, 4],
        "encoder_channels": [4, 4, 4, 4],
        "w_dim": 4,
        "held_out": 8,
        "autoencoder_images": 8,
        "joint_images": 8,
    },
    "budget": {"images": 24, "batch_size": 8},
    "resources": {"device": "cpu", "precision": "float32", "processes": 1},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of trainings, the only one that is served."""
    made = tmp_path / "trainings"
    made.mkdir()
    for spec in (JUDGE, PAINTER):
        (made / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec))
    monkeypatch.setenv("INVERTORY_TRAININGS", str(made))
    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture
def materialise(tmp_path: Path, folder: Path) -> Callable[..., dg.ExecuteInProcessResult]:
    world = {
        "models": ModelStore(),
        "gpu": Gpu(device="cpu", lock_dir=str(tmp_path / "locks")),
        "reporting": Reporting(),
    }

    def made(*names: str, instance: dg.DagsterInstance | None = None):
        specs = [load_training(path) for path in sorted(folder.glob("*.yaml"))]
        return dg.materialize(
            training_assets.training_assets(specs),
            selection=[dg.AssetKey(["models", name]) for name in names],
            resources=world,
            instance=instance,
            run_config=QUIET,
            raise_on_error=False,
        )

    return made


def metadata_of(done: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    (event,) = done.asset_materializations_for_node(f"models__{name}")
    return {key: value.value for key, value in event.metadata.items()}


def test_a_chain_of_trainings_runs_as_assets_and_shows_what_came_of_it(materialise):
    done = materialise("judge", "painter")
    assert done.success
    judge, painter = metadata_of(done, "judge"), metadata_of(done, "painter")
    assert 0 <= judge["accuracy"] <= 1
    assert judge["quality"]["accuracy"] == judge["accuracy"]
    assert judge["images_seen"] == 16
    assert {"frechet", "psnr_db"} <= painter.keys()
    (event,) = done.asset_materializations_for_node("models__painter")
    networks = event.metadata["networks"].records
    assert {record.data["name"] for record in networks} == {"painter", "critic"}
    assert painter["sheet"].startswith("Real images above, generated ones below.")
    assert len(painter["sheet"]) < 140_000
    critic = ModelStore().full_card("critic")
    assert critic["generator"] == "painter"
    assert critic["uses"]["classifier"]["sha256"] == ModelStore().card("trained://judge").sha256
    assert not ModelStore().card("trained://painter").generator


def test_what_is_trained_is_reused_under_the_same_data_version(materialise):
    with dg.DagsterInstance.ephemeral() as instance:
        versions = []
        for _ in range(2):
            assert materialise("judge", instance=instance).success
            event = instance.get_latest_materialization_event(dg.AssetKey(["models", "judge"]))
            found = event.asset_materialization
            versions.append(found.tags["dagster/data_version"])
        assert found.metadata["reused"].value is True
        assert versions[0] == versions[1]


def test_a_network_that_is_missing_fails_once_and_says_what_to_do(materialise):
    done = materialise("painter")
    assert not done.success
    (event,) = done.get_step_failure_events()
    assert "`invertory train judge`" in event.step_failure_data.error.cause.message
    kinds = {event.event_type for event in done.all_events}
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds


def test_every_training_is_an_asset_that_says_who_what_and_how(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("INVERTORY_TRAININGS", str(TRAININGS))
    served = {spec.key.to_user_string(): spec for spec in defs().resolve_all_asset_specs()}
    for path in TRAININGS.glob("*.yaml"):
        spec = served[f"models/{path.stem}"]
        assert spec.group_name == "models"
        assert spec.owners == ["team:invertory"]
        assert len(spec.description or "") > 20
        assert "pytorch" in spec.kinds
        assert spec.code_version
    deps = {dep.asset_key.to_user_string() for dep in served["models/portraits_linknet"].deps}
    assert deps == {"models/portraits_classifier", "models/portraits_generator"}
    guided = served["models/portraits_domain_guided_encoder"].deps
    assert {dep.asset_key.path[1] for dep in guided} == {
        "portraits_generator",
        "portraits_classifier",
    }


def test_a_training_computes_in_the_pool_of_the_devices(folder):
    spec = load_training(folder / "judge.yaml")
    (asset,) = training_assets.training_assets([spec])
    assert asset.op.pool == "gpu"
    assert asset.op.retry_policy == Retry(3)
    assert {"gpu", "models", "reporting"} <= asset.required_resource_keys


def test_a_broken_training_is_left_out_and_named(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("INVERTORY_RECIPES", str(tmp_path / "none"))
    (folder / "broken.yaml").write_text("name: broken\ntrainer: classifier\n")
    served = {spec.key.to_user_string() for spec in defs().resolve_all_asset_specs()}
    assert served == {"models/judge", "models/painter"}
    assert "broken.yaml is left out" in caplog.text


def test_a_recipes_tables_descend_from_the_training_of_their_generator(
    folder, materialise, make_world
):
    assert materialise("judge", "painter").success
    world = make_world(
        generator={"name": "stylegan2", "weights": "trained://painter"},
        alignment={"kind": "centre", "size_px": 32},
    )
    recipe_alone = definitions_of(world.recipe, ModelStore(), valid_trainings())
    served = dg.Definitions.merge(dg.Definitions(resources=world.resources), recipe_alone)
    deps = {spec.key.path[1]: {dep.asset_key.to_user_string() for dep in spec.deps}
            for spec in served.resolve_all_asset_specs()}  # fmt: skip
    assert "models/painter" in deps["latents_image2stylegan"]
    assert "models/painter" not in deps["images"]


def test_an_interruption_goes_its_way(monkeypatch, folder):
    """Neither Ctrl-C nor "Terminate" is a failure of the training."""
    with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stack.enter_context(training_assets._once())
        raise KeyboardInterrupt
