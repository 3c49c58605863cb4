"""Derived tensors are cached only while their parameter cannot have changed."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import Tensor, nn

from invertory.generators.frozen import FrozenCache
from invertory.generators.stylegan2 import StyleGAN2


class Counted:
    """Twice the parameter, and the number of times it was computed."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.frozen, self.parameter, self.times = FrozenCache(), parameter, 0

    def get(self) -> Tensor:
        return self.frozen.get("twice", self.parameter, self._twice)

    def _twice(self) -> Tensor:
        self.times += 1
        return 2 * self.parameter


def still(value: float = 1.0) -> Counted:
    return Counted(nn.Parameter(torch.full((2,), value), requires_grad=False))


def test_a_frozen_parameter_is_computed_once() -> None:
    counted = still()
    assert counted.get() is counted.get()
    assert counted.times == 1


def test_a_change_in_place_is_seen() -> None:
    counted = still()
    counted.get()
    counted.parameter.mul_(3)
    assert counted.get().tolist() == [6, 6]


def test_other_data_is_seen() -> None:
    counted = still()
    for value in range(5):  # freed memory is soon reused
        counted.parameter.data = torch.full((2,), float(value))
        assert counted.get().tolist() == [2 * value] * 2
    counted.parameter.data = counted.parameter.data.double()
    assert counted.get().dtype == torch.float64


def test_a_trained_parameter_has_its_gradient_each_time() -> None:
    counted = still()
    counted.get()
    counted.parameter.requires_grad_()
    assert counted.get() is not counted.get()
    counted.get().sum().backward()
    assert counted.parameter.grad is not None
    assert counted.parameter.grad.tolist() == [2, 2]


def test_what_is_kept_may_be_used_for_gradients_after_inference() -> None:
    counted = still()
    with torch.inference_mode():
        counted.get()
    x = torch.ones(2, requires_grad=True)
    (x * counted.get()).sum().backward()
    assert x.grad is not None


def test_copies_begin_empty() -> None:
    counted = still()
    counted.get()
    for made in (copy.deepcopy(counted.frozen), pickle.loads(pickle.dumps(counted.frozen))):
        assert isinstance(made, FrozenCache)
        assert made.get("twice", counted.parameter, lambda: torch.zeros(2)).tolist() == [0, 0]


def test_a_generator_follows_its_weights() -> None:
    generator = StyleGAN2(z_dim=8, w_dim=8, img_resolution=8, channel_base=64)
    generator.initialise(torch.Generator().manual_seed(0))
    w_plus = torch.randn(1, generator.num_ws, 8, generator=torch.Generator().manual_seed(1))
    first = generator.synthesis(w_plus)
    assert torch.equal(generator.synthesis(w_plus), first)
    for name, parameter in generator.named_parameters():
        if name.endswith("weight"):
            parameter.mul_(torch.linspace(1, 2, parameter.numel()).view_as(parameter))
    fresh = StyleGAN2(**generator.config)
    fresh.load_state_dict(generator.state_dict())
    assert torch.equal(generator.synthesis(w_plus), fresh.synthesis(w_plus))
    assert not torch.allclose(generator.synthesis(w_plus), first)
    assert not [name for name in generator.state_dict() if "frozen" in name]


def test_a_fused_step_is_seen_though_it_raises_no_version() -> None:
    """Like a discriminator: trained in its own step, frozen in its generator's."""
    counted = still()
    parameter = counted.parameter
    optimiser = torch.optim.Adam([parameter], lr=0.1, fused=True)
    for _ in range(3):
        parameter.requires_grad_(True)
        counted.get().sum().backward()
        optimiser.step()
        parameter.requires_grad_(False)
        assert torch.equal(counted.get(), 2 * parameter)
