"""Which latent space each pixel of a picture is inverted in, from how hard it is in each.

Spatially-Adaptive Multilayer Selection, Parmar et al. 2022, https://arxiv.org/abs/2206.08357,
sections 3.1 and 3.2. Spaces are in order, the most editable (W+) first and the finest last; a
choice is an index into them for every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from torch import nn

FINEST: Final = "finest"  # the last space, by a name that fits every generator


class Predictor(Protocol):
    """What tells how hard a picture is to invert."""

    spaces: tuple[str, ...]
    unit: Tensor  # [], an error that plain pictures rarely exceed in the first space

    def __call__(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, H, W] in [-1, 1] => errors [N, num_spaces, h, w], 0 or more."""
        ...


class Segmenter(Protocol):
    """What tells which segment a pixel belongs to."""

    segments: tuple[str, ...]

    def segment(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, H, W] in [-1, 1] => index into `segments`, [N, H, W]."""
        ...


def network_of(networks: Mapping[str, nn.Module], kind: str, remedy: str) -> nn.Module:
    """The network of that kind, or an error that says what does without one."""
    if kind not in networks:
        raise ValueError(
            f"expected a network {kind!r}, got {sorted(networks) or 'none'}: pass "
            f"networks={{{kind!r}: ...}}, or {remedy}"
        )
    return networks[kind]


@torch.no_grad()
def predicted(network: nn.Module, pictures: Tensor, spaces: Sequence[str], px: int) -> Tensor:
    """Errors [N, S, px, px] of the spaces, in the predictor's unit.

    A picture at a time, so that none depends on others.
    """
    predictor = cast("Predictor", network)
    if missing := [name for name in spaces if name not in predictor.spaces]:
        raise ValueError(
            f"expected a predictor of {', '.join(spaces)}, got one of "
            f"{', '.join(predictor.spaces)}: train one for {', '.join(missing)}, or set spaces"
        )
    columns = [predictor.spaces.index(name) for name in spaces]
    rows = [predictor(picture)[:, columns] / predictor.unit for picture in torch.split(pictures, 1)]
    return interpolate(torch.cat(rows).float(), size=(px, px), mode="bilinear", antialias=True)


@torch.no_grad()
def segmented(network: nn.Module, pictures: Tensor, fused: Sequence[str]) -> Tensor:
    """Segment [N, H, W] of every pixel; those named in `fused` count as one."""
    parser = cast("Segmenter", network)
    found = torch.cat([parser.segment(picture) for picture in torch.split(pictures, 1)]).long()
    known = [parser.segments.index(name) for name in fused if name in parser.segments]
    table = torch.arange(len(parser.segments), device=found.device)
    if known:
        table[known] = known[0]
    return table[found]


def first_within(errors: Tensor, tau: float) -> Tensor:
    """errors [N, S, ...] => the first space with at most tau, else the last; [N, ...]."""
    is_within = (errors <= tau).int()
    is_within[:, -1] = 1
    return (is_within.cumsum(1) == 0).sum(1)


def refined(errors: Tensor, segments: Tensor, tau: float) -> Tensor:
    """errors [N, S, H, W], segments [N, H, W] => choice [N, H, W], one space to a segment.

    Section 3.2: for each segment the most editable space whose mean error is at most tau.
    """
    if segments.shape != errors[:, 0].shape:
        raise ValueError(
            f"expected segments {list(errors[:, 0].shape)}, got {list(segments.shape)}: "
            "segment the same pictures, at their size"
        )
    flat = segments.flatten(1).long()
    index = flat[:, None].expand(-1, errors.shape[1], -1)
    sums = errors.new_zeros((*errors.shape[:2], int(flat.max()) + 1), dtype=torch.float64)
    areas = torch.zeros_like(sums).scatter_add_(2, index, torch.ones_like(index).double())
    sums = sums.scatter_add_(2, index, errors.flatten(2).double())
    chosen = first_within(sums / areas.clamp_min(1), tau)
    return chosen.gather(1, flat).view_as(segments)


def by_class(
    segments: Tensor, names: Sequence[str], spaces: Sequence[str], wanted: Mapping[str, str]
) -> Tensor:
    """The ablation of Fig. 4.7: segments [N, H, W] => choice, a fixed space for each name.

    `wanted`: name => space, or "finest"; names that it lacks are inverted in the first space.
    """
    known = (*spaces, FINEST)
    if unknown := {space for space in wanted.values() if space not in known}:
        raise ValueError(
            f"expected spaces among {', '.join(known)} for the segments, got "
            f"{', '.join(sorted(unknown))}"
        )
    if foreign := [name for name in wanted if name not in names]:
        raise ValueError(
            f"expected segments among {', '.join(names)}, got {', '.join(foreign)}: name what the "
            "parser tells"
        )
    ranks = dict(zip(spaces, range(len(spaces)), strict=True)) | {FINEST: len(spaces) - 1}
    table = torch.tensor([ranks[wanted.get(name, spaces[0])] for name in names])
    return table.to(segments.device)[segments.long()]
