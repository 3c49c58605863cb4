"""The four resources work in an asset, and all their fields have descriptions."""

from pathlib import Path

import dagster as dg
import pytest

from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.sources import ImageSource
from invertory.resources.tables import Tables

RESOURCES = [Tables, ImageSource, ModelStore, Gpu]


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_field_has_a_description(resource: type[dg.ConfigurableResource]) -> None:
    assert all(field.description for field in resource.model_fields.values())


def test_an_asset_can_use_them_all(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")

    @dg.asset
    def used(tables: Tables, source: ImageSource, models: ModelStore, gpu: Gpu) -> int:
        with gpu.lease() as lease:
            assert lease.batch_size == 2
        assert tables.store("faces").tables() == []
        assert models.folder() == tmp_path
        return sum(len(source.read(entry.uri)) for entry in source.entries())

    given = {
        "tables": Tables(root=str(tmp_path / "store")),
        "source": ImageSource(uri=str(tmp_path), pattern="*.jpg"),
        "models": ModelStore(cache=str(tmp_path)),
        "gpu": Gpu(device="cpu", batch_size=2, lock_dir=str(tmp_path / "locks")),
    }
    result = dg.materialize([used], resources=given)
    assert result.output_for_node("used") == 1
