"""Networks in the package: half as large where that costs little, and not too large together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from invertory.pipelines.training import cards as training_cards
from invertory.pipelines.training.cards import bundle
from invertory.resources import models as model_store
from invertory.resources.checkpoints import load_network
from invertory.resources.models import ModelStore


def test_bundled_weights_are_half_as_large_and_say_what_that_costs(
    spec_of, run, tmp_path, monkeypatch
):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    cards = bundle(found.cards, found.networks_folder)
    path = ModelStore().fetch("bundled://judge")
    halves = load_file(path)
    assert {t.dtype for t in halves.values() if t.is_floating_point()} == {torch.float16}
    assert cards["judge"]["source"] == "bundled://judge"
    assert cards["judge"]["dtype"] == "float16"
    assert cards["judge"]["sha256"] != found.cards["judge"]["sha256"]
    network: Any = load_network(path)
    trained: Any = load_network(found.networks_folder / "judge.safetensors")
    x = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    assert torch.allclose(network(x), trained(x), atol=0.02)


def test_weights_that_half_precision_would_spoil_are_bundled_in_full(
    spec_of, run, tmp_path, monkeypatch, weights_of, are_equal
):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    card = found.cards["judge"] | {"float16_error": 0.1}
    cards = bundle({"judge": card}, found.networks_folder)
    assert cards["judge"]["dtype"] == "float32"
    assert are_equal(load_file(tmp_path / "bundled" / "judge.safetensors"), weights_of(found))


def test_a_package_that_would_grow_too_large_is_refused(spec_of, run, tmp_path, monkeypatch):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setattr(training_cards, "MAX_BUNDLED_BYTES", 1000)
    with pytest.raises(ValueError, match=r"at most 0 MB together, got .* train a smaller network"):
        bundle(found.cards, found.networks_folder)
    assert not (tmp_path / "bundled").exists()
