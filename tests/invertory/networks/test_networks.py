import pytest
import torch

from invertory.checkpoints.strict import ArchitectureError, load_strictly
from invertory.generators.stylegan2 import StyleGAN2
from invertory.networks import NETWORKS, build

SMALL = {"z_dim": 8, "w_dim": 8, "img_resolution": 8, "num_layers": 2, "channel_max": 8}


def test_a_card_gives_the_network_back():
    made = StyleGAN2(**SMALL)
    again = build("stylegan2", made.config, made.state_dict())
    w_plus = torch.randn(1, made.num_ws, 8)
    assert torch.equal(again.synthesis(w_plus), made.synthesis(w_plus))


def test_an_unknown_architecture_names_the_near_one():
    with pytest.raises(ValueError, match="did you mean 'stylegan2'"):
        build("stylegan", {}, {})


def test_a_configuration_of_another_class_is_refused():
    with pytest.raises(ValueError, match="expected a configuration of 'stylegan2'"):
        build("stylegan2", {"depth": 3}, {})


def test_tensors_of_another_size_are_named_with_both_shapes():
    made = StyleGAN2(**SMALL)
    with pytest.raises(ArchitectureError, match=r"expected \[16, 8\], got \[8, 8\]"):
        build("stylegan2", SMALL | {"w_dim": 16}, made.state_dict())


def test_missing_and_unknown_names_are_told_and_nothing_is_copied():
    network = torch.nn.Linear(2, 2)
    before = network.weight.clone()
    with pytest.raises(ArchitectureError, match="lacks bias; has unknown scale"):
        load_strictly(network, {"weight": torch.zeros(2, 2), "scale": torch.ones(1)})
    assert torch.equal(network.weight, before)


def test_every_architecture_can_be_loaded():
    assert all(callable(kind.load) for kind in NETWORKS.values())
