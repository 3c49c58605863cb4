"""Networks from any address are fetched once and verified, and pinned cards are complete."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from invertory.resources import models
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED, pinned_sha256
from invertory.resources.pypi import PackageUri


@pytest.mark.parametrize("way", ["field", "environment"])
def test_offline_names_what_is_missing(store, way, monkeypatch):
    if way == "environment":
        monkeypatch.setenv("INVERTORY_OFFLINE", "1")
    else:
        store = ModelStore(cache=store.cache, offline=True)
    with pytest.raises(FileNotFoundError, match=r"(?s)toy==1\.0 with sha256 0000.*run once"):
        store.fetch("pypi://toy==1.0#x", "0" * 64)
    with pytest.raises(FileNotFoundError, match="run once with network access"):
        store.fetch("http://127.0.0.1:9/weights.pt")


def test_local_files_are_verified(tmp_path, store, weights):
    path = tmp_path / "w.bin"
    path.write_bytes(weights)
    sha256 = hashlib.sha256(weights).hexdigest()
    assert store.fetch(str(path), sha256) == path
    assert store.fetch(f"file://{path}", sha256) == path
    with pytest.raises(ValueError, match=f"(?s)sha256 {'0' * 64}, got {sha256}"):
        store.fetch(str(path), "0" * 64)
    with pytest.raises(FileNotFoundError, match="correct the address"):
        store.fetch(str(tmp_path / "none"))


def test_remote_files_are_cached_and_verified(store, weights):
    fsspec.filesystem("memory").pipe_file("/models/w.bin", weights)
    sha256 = hashlib.sha256(weights).hexdigest()
    path = store.fetch("memory://models/w.bin", sha256)
    assert path.read_bytes() == weights
    assert store.fetch("memory://models/w.bin").read_bytes() == weights
    with pytest.raises(ValueError, match="has changed or is damaged"):
        store.fetch("memory://models/w.bin", "0" * 64)
    fsspec.filesystem("memory").rm("/models/w.bin")
    assert store.fetch("memory://models/w.bin", sha256) == path


def test_bundled_weights_and_cards(tmp_path, store, monkeypatch):
    monkeypatch.setattr(models, "BUNDLED", tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"h")
    card = {"kind": "encoder", "architecture": {"width": 3}, "licence": "Apache-2.0", "steps": 4}
    (tmp_path / "head.json").write_text(json.dumps(card))
    assert store.fetch("bundled://head").read_bytes() == b"h"
    assert store.card("head").architecture == '{"width": 3}'
    assert store.card("head").source == "bundled://head"
    with pytest.raises(FileNotFoundError, match=r"got only \['head'\]"):
        store.fetch("bundled://tail")
    with pytest.raises(FileNotFoundError, match="choose one"):
        store.card("tail")
    with pytest.raises(ValueError, match="network name"):
        store.fetch("bundled://../head")


def test_unknown_schemes_list_the_known_ones(store):
    with pytest.raises(ValueError, match="expected bundled://, trained://, hf://, pypi://"):
        store.fetch("gopher://x/y")


def test_a_missing_library_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        store.fetch("hf://somebody/something/weights.safetensors")


def test_pinned_cards_are_complete():
    for name, card in PINNED.items():
        assert card.name == name
        assert len(card.sha256) == 64
        assert PackageUri.parse(card.source).member
        assert isinstance(json.loads(card.architecture), dict)
        assert card.licence and card.provenance
        assert pinned_sha256(card.source) == card.sha256
    assert pinned_sha256("pypi://toy==1.0#a") is None


def test_no_index_is_named_in_the_code():
    folder = Path(models.__file__).parent
    assert all("https://" not in path.read_text() for path in folder.glob("*.py"))


def test_importing_the_models_imports_no_client():
    loaded = "'unearth' in sys.modules, 'torch' in sys.modules"
    code = f"import invertory.resources.models, sys; print({loaded})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


@pytest.mark.download
@pytest.mark.parametrize("name", ["yunet", "face-landmarker", "face-recognition-photos"])
def test_pinned_weights_are_available(name):
    """Uses the cache of the user, so cached files are not downloaded again."""
    card = PINNED[name]
    try:
        found = ModelStore().fetch_all(card.source)
    except (OSError, ValueError) as error:
        pytest.skip(f"{card.source} cannot be had: {error}")
    assert found
    assert all(path.stat().st_size for path in found)
