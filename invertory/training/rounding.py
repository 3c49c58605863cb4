"""Weights in half precision, and the resulting error of a network's outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Outputs = Callable[[Any], Tensor]  # network => its outputs


def rounded(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network on the CPU, floats as float16."""
    return {
        name: (t.half() if t.is_floating_point() else t).detach().cpu()
        for name, t in network.state_dict().items()
    }


@torch.no_grad()
def rounding_error(network: nn.Module, outputs: Outputs) -> float:
    """f'(x) - f(x)| / |f(x)| in L2, where f' has the weights of f rounded to float16.

    f' computes in the precision of f. Infinite if a weight overflows float16.
    """
    coarse = copy.deepcopy(network)
    coarse.load_state_dict(rounded(network))
    expected, got = outputs(network).double(), outputs(coarse).double()
    error = float((got - expected).norm() / expected.norm().clamp_min(1e-12))
    return error if torch.isfinite(got).all() else float("inf")


def outputs_for_z(z: Tensor) -> Outputs:
    """Outputs of a generator: its images of z [N, z_dim]."""

    def outputs(generator: Any) -> Tensor:
        w_plus = generator.mapping(z)[:, None].expand(-1, generator.num_ws, -1)
        images: Tensor = generator.synthesis(w_plus)
        return images

    return outputs


def outputs_for_images(images: Tensor) -> Outputs:
    """Outputs of any other network on images [N, 3, H, W] in [-1, 1]."""
    return lambda network: network(images)
