"""SeFa: Closed-Form Factorization of Latent Semantics in GANs, Shen and Zhou 2021.

https://arxiv.org/abs/2007.06600. Directions are those that the generator's own style weights
amplify most; no images or samples are needed. Ours differs from the published code in sorting by
eigenvalue, so the first k are the strongest, and in fixing signs so that the largest entry is
positive and a number always names the same direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invertory.editing.linear import parse_layers
from invertory.generators import Generator
from invertory.generators.mobile_layers import Block
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Directions of unit length, the strongest first."""

    directions: Tensor  # [w_dim, w_dim] float64, one per row
    strengths: Tensor  # [w_dim] float64: eigenvalues, descending
    layers: str  # rows of w_plus whose weights were used, and which an edit moves


def factorise(generator: Generator, layers: str = "all") -> Factors:
    """Find the directions that the styles of the rows `layers` of w_plus amplify most."""
    weights = style_weights(generator)
    chosen = [weights[row] for row in parse_layers(layers, len(weights))]
    directions, strengths = factorise_weights(chosen)
    return Factors(directions=directions, strengths=strengths, layers=layers)


def factorise_weights(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Weights [C, w_dim] of affine layers => directions [w_dim, w_dim] in rows, eigenvalues.

    Eq. 5: the eigenvectors of A^T A. As in the published code, each channel of A is normalised to
    unit length first, so that only its direction counts.
    """
    A = torch.cat([weight.detach().double() for weight in weights])
    A = A / A.norm(dim=1, keepdim=True)
    strengths, vectors = torch.linalg.eigh(A.T @ A)
    return canonical(vectors.T.flip(0)), strengths.flip(0)


def canonical(directions: Tensor) -> Tensor:
    """Set the sign of each row so that its largest entry is positive."""
    largest = directions.abs().argmax(1, keepdim=True)
    return directions * directions.gather(1, largest).sign()


def style_weights(generator: Generator) -> list[Tensor]:
    """For each row of w_plus, the weight [C, w_dim] of the affine layer that reads it.

    If a ToRGB shares its row with the next block's convolution, the convolution's weight is used,
    as in the published code; so only the last ToRGB counts. Raises `ValueError` for other
    generators.
    """
    if isinstance(generator, StyleGAN2):
        return _stylegan2(generator)
    if isinstance(generator, MobileStyleGAN):
        return _mobile_stylegan(generator)
    raise ValueError(
        f"expected a StyleGAN2 or a MobileStyleGAN, got {type(generator).__name__}; pass the style "
        "weights of other generators to factorise_weights"
    )


def edit(w_plus: Tensor, direction: Tensor, step: Tensor | float, layers: str = "all") -> Tensor:
    """w_plus [N, num_ws, w_dim] + step * direction [w_dim] or [1, w_dim], in rows `layers`.

    Steps are in units of w, [N] or one for all. The paper shows -3 to 3 in normalised latents.
    """
    mask = w_plus.new_zeros(w_plus.shape[1], 1, dtype=torch.float64)
    mask[parse_layers(layers, w_plus.shape[1])] = 1.0
    move = torch.as_tensor(step, dtype=torch.float64, device=w_plus.device).expand(len(w_plus))
    shift = move[:, None, None] * (direction.to(w_plus.device).double().reshape(1, -1) * mask)
    return (w_plus.double() + shift).to(w_plus.dtype)


def _stylegan2(generator: StyleGAN2) -> list[Tensor]:
    synthesis = generator.synthesis
    # the 4 px block has one convolution
    convolutions = [f"b{px}.conv{i}" for px in synthesis.sizes_px for i in (0, 1)][1:]
    last = f"b{synthesis.sizes_px[-1]}.torgb"
    return [synthesis.get_parameter(f"{name}.affine.weight") for name in (*convolutions, last)]


def _mobile_stylegan(generator: MobileStyleGAN) -> list[Tensor]:
    weights = [generator.stem.modulation.weight]
    for block in generator.blocks:
        assert isinstance(block, Block)
        weights += [block.up.weight, block.conv1.modulation.weight, block.conv2.modulation.weight]
    return [*weights, generator.to_img_modulation.weight]
