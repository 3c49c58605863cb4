"""The same tables in every store, from every packing; and the exported set opens elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

METHOD = "projector"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no tar
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_exported_tars_open(copy):
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, (copy.folder / f"store/toy/sets/{METHOD}/webdataset").glob("*.tar")))
    samples = webdataset.WebDataset(tars, shardshuffle=False)
    found = {json.loads(sample["json"])["sample_id"] for sample in samples}
    assert found == set(copy.column(f"exports/{METHOD}", "sample_id"))


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_the_exported_sets_open_in_datasets(copy, kind):
    datasets = pytest.importorskip("datasets")
    folder = copy.folder / f"store/toy/sets/{METHOD}/{kind}"
    what = {"data_dir": str(folder)}
    if kind == "parquet":
        what = {"data_files": sorted(map(str, folder.glob("*.parquet")))}
    found = datasets.load_dataset(kind, split="train", cache_dir=str(copy.folder / "hf"), **what)
    assert set(found["sample_id"]) == set(copy.column(f"exports/{METHOD}", "sample_id"))
    assert found[0]["image"].size == (32, 32)
    labels = Counter(zip(found["target_label"], found["protected_label"], strict=True))
    assert all(labels[target, True] == labels[target, False] for target in (True, False))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An object store of our own, found as any other: by the environment."""
    moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_in_memory_and_one_on_s3_hold_the_same_tables(
    finished, copy, bucket, read_tables, monkeypatch
):
    expected = read_tables(copy.store)
    for root in (f"memory://{uuid.uuid4().hex}", f"{bucket}/store"):
        monkeypatch.setenv("INVERTORY_STORE", root)
        assert copy.run()["num_computed"] == finished[2]["num_computed"]
        assert read_tables(copy.store) == expected
        assert copy.run()["is_up_to_date"]
        assert not [path for path in copy.store.fs.find(copy.store.base) if "/_parts/" in path]


def as_tar(paths: list[Path], place, bucket: str) -> str:
    with tarfile.open(place.folder / "pictures.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    return "pictures.tar"


def as_parquet(paths: list[Path], place, bucket: str) -> str:
    cells = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    pq.write_table(pa.table({"image": cells}), place.folder / "pictures.parquet")
    return "pictures.parquet"


def as_objects(paths: list[Path], place, bucket: str) -> str:
    for path in paths:
        fsspec.filesystem("s3").put_file(str(path), f"{bucket}/pictures/{path.name}")
    return f"{bucket}/pictures"


@pytest.mark.parametrize("pack", [as_tar, as_parquet, as_objects])
def test_a_collection_gives_the_same_latents_however_it_is_packed(
    copy, finished, bucket, pack, num_drawn, short_recipe
):
    latents = dict(zip(copy.column(f"latents/{METHOD}", "crop_id"),
                       copy.column(f"latents/{METHOD}", "latent"), strict=True))  # fmt: skip
    shutil.rmtree(copy.folder / "store")
    paths = sorted((copy.folder / "pictures").glob("*.png"))
    copy.write(short_recipe(pack(paths, copy, bucket)))
    assert copy.run()["status"]["files_by_status"] == {"ok": num_drawn}
    ids = copy.column(f"latents/{METHOD}", "crop_id")
    assert copy.column(f"latents/{METHOD}", "latent") == [latents[crop_id] for crop_id in ids]
    (row,) = copy.json("trace", ids[0], "--recipe", "toy.yaml")["tables"]["images"]["rows"]
    assert "pictures" in row["uri"]


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def test_an_exported_program_scores_as_the_onnx_file_does(copy, short_recipe):
    before = copy.column("attributes", "score_red")
    program = torch.export.export(Mean(), (torch.zeros(1, 3, 32, 32),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    (copy.folder / "mean.pt2").write_bytes(buffer.getvalue())
    recipe = short_recipe()
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    red = {"scorer": "torchscript", "uri": "mean.pt2", "sha256": digest, "size_px": 32}
    copy.write(recipe | {"attributes": {"red": red}})
    assert copy.run()["num_computed"] == 3  # two shards, and the networks' cards
    assert copy.column("attributes", "score_red") == pytest.approx(before, abs=1e-5)
