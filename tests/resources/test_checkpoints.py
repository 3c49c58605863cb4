"""A network is loaded from its weights and its card, or the mismatch is reported."""

import hashlib
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from invertory.checkpoints.strict import ArchitectureError
from invertory.generators.stylegan2 import StyleGAN2
from invertory.resources.cards import digest_in
from invertory.resources.checkpoints import fetch_network, load_network, network_card, write_network
from invertory.resources.models import ModelStore

SIZES = {"img_resolution": 8, "z_dim": 4, "w_dim": 4, "channel_base": 32, "channel_max": 4}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(cache=str(tmp_path / "cache"))


@pytest.fixture
def generator() -> StyleGAN2:
    return StyleGAN2(**SIZES, num_layers=1)


def card_of(network: StyleGAN2, name: str = "stylegan2") -> dict[str, Any]:
    return {"kind": "generator", "architecture": {"name": name, "config": network.config}}


def written(folder: Path, network: StyleGAN2, **card: Any) -> Path:
    write_network(folder, "g", network.state_dict(), card_of(network) | card)
    return folder / "g.safetensors"


def test_a_loaded_network_is_frozen_and_equal(tmp_path: Path, generator: StyleGAN2) -> None:
    back: Any = load_network(written(tmp_path, generator))
    z = torch.ones(1, 4)
    assert torch.equal(back.mapping(z), generator.mapping(z))
    assert not back.training
    assert not any(p.requires_grad for p in back.parameters())


def test_half_precision_weights_are_loaded_as_float32(tmp_path: Path, generator: StyleGAN2) -> None:
    tensors = {k: t.half() for k, t in generator.state_dict().items()}
    write_network(tmp_path, "g", tensors, card_of(generator))
    assert {p.dtype for p in load_network(tmp_path / "g.safetensors").parameters()} == {
        torch.float32
    }


def test_the_card_has_digest_and_size_of_the_weights(tmp_path: Path, generator: StyleGAN2) -> None:
    data = written(tmp_path, generator, licence="Apache-2.0").read_bytes()
    full_card = json.loads((tmp_path / "g.json").read_text())
    assert full_card["sha256"] == hashlib.sha256(data).hexdigest() == digest_in(tmp_path, "g")
    assert (full_card["size_bytes"], full_card["licence"]) == (len(data), "Apache-2.0")


def test_a_trained_network_has_an_address(store: ModelStore, generator: StyleGAN2) -> None:
    path = written(store.trained(), generator, licence="ours", quality={"fid": 3.0})
    assert store.fetch("trained://g") == path
    card = store.card("trained://g")
    assert (card.name, card.kind, card.source) == ("g", "generator", "trained://g")
    assert store.full_card("g")["quality"] == {"fid": 3.0}
    assert network_card("trained://g", store)["licence"] == "ours"
    assert card in store.cards()
    assert store.is_available_offline(card)


def test_an_untrained_network_names_the_training_command(store: ModelStore) -> None:
    with pytest.raises(FileNotFoundError, match=r"got only \[\].*`invertory train faces`"):
        store.fetch("trained://faces")


def test_a_bundled_network_is_offered_instead(store: ModelStore) -> None:
    with pytest.raises(FileNotFoundError, match="or use bundled://mobile_stylegan_preview"):
        store.fetch("trained://mobile_stylegan_preview")


def test_weights_that_differ_from_the_card_are_refused(
    store: ModelStore, generator: StyleGAN2
) -> None:
    path = written(store.trained(), generator)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"expected trained://g to have sha256 .* has changed"):
        store.fetch("trained://g")


def test_an_unknown_architecture_gets_a_suggestion(tmp_path: Path, generator: StyleGAN2) -> None:
    write_network(tmp_path, "g", generator.state_dict(), card_of(generator, "stylgan2"))
    with pytest.raises(ValueError, match=r"got 'stylgan2'; did you mean 'stylegan2'\?"):
        load_network(tmp_path / "g.safetensors")


def test_a_checkpoint_of_another_architecture_lists_the_differences(
    tmp_path: Path, generator: StyleGAN2
) -> None:
    path = written(tmp_path, generator)
    tensors = load_file(path)
    tensors["synthesis.b4.const"] = torch.zeros(2, 4, 4)
    save_file(tensors, path)
    with pytest.raises(ArchitectureError, match=r"b4\.const \(expected \[4, 4, 4\], got \[2, 4, 4"):
        load_network(path)


def test_weights_without_a_card_show_an_example(tmp_path: Path, generator: StyleGAN2) -> None:
    path = written(tmp_path, generator)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r'write one: \{"architecture"'):
        load_network(path)


def test_a_card_may_hold_only_the_arguments_of_the_default_architecture(
    tmp_path: Path, generator: StyleGAN2
) -> None:
    path = written(tmp_path, generator)
    path.with_suffix(".json").write_text(json.dumps(generator.config))
    assert isinstance(load_network(path, default="stylegan2"), StyleGAN2)
    with pytest.raises(ValueError, match='expected "architecture"'):
        load_network(path)


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, generator: StyleGAN2) -> None:
    path = written(tmp_path, generator)
    path.write_bytes(b"pickled")
    with pytest.raises(ValueError, match=r"expected safetensors in .* convert the file"):
        load_network(path)


def test_the_card_of_a_remote_address_is_fetched_too(
    tmp_path: Path, store: ModelStore, generator: StyleGAN2
) -> None:
    path = written(tmp_path, generator)
    remote = fsspec.filesystem("memory")
    for name in ("g.safetensors", "g.json"):
        remote.pipe_file(f"/nets/{name}", (tmp_path / name).read_bytes())
    weights, card = fetch_network("memory://nets/g.safetensors", store)
    remote.rm("/nets", recursive=True)
    assert weights.read_bytes() == path.read_bytes()
    assert isinstance(load_network(weights, card=card), StyleGAN2)


def test_the_digest_of_a_bundled_card_is_verified(store: ModelStore) -> None:
    assert store.fetch("bundled://mobile_stylegan_preview").is_file()
    assert "psnr_db" in store.full_card("mobile_stylegan_preview")
