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


def check_predicts(known: Sequence[str], spaces: Sequence[str]) -> None:
    """The predictor's spaces, `known`, are to have those asked for among them."""
    if missing := [name for name in spaces if name not in known]:
        raise ValueError(
            f"expected a predictor of {', '.join(spaces)}, got one of {', '.join(known)}: train "
            f"one for {', '.join(missing)}, or set spaces"
        )


@torch.no_grad()
def predicted(network: nn.Module, pictures: Tensor, spaces: Sequence[str], px: int) -> Tensor:
    """Errors [N, S, px, px] of the spaces, in the predictor's unit.

    A picture at a time, so that none depends on others.
    """
    predictor = cast("Predictor", network)
    check_predicts(predictor.spaces, spaces)
    columns = [predictor.spaces.index(name) for name in spaces]
    rows = [predictor(picture)[:, columns] / predictor.unit for picture in torch.split(pictures, 1)]
    return interpolate(torch.cat(rows).float(), size=(px, px), mode="bilinear", antialias=True)


@torch.no_grad()
def segmented(network: nn.Module, pictures: Tensor, fused: Sequence[str]) -> Tensor:
    """Segment [N, H, W] of every pixel; those named in `fused` count as one."""
    parser = cast("Segmenter", network)
    found = torch.cat([parser.segment(picture) for picture in torch.split(pictures, 1)]).long()
    _check_size(found, pictures[:, 0])
    _check_indices(found, parser.segments)
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
    _check_size(segments, errors[:, 0])
    groups = _groups(segments).flatten()
    values = errors.transpose(0, 1).flatten(1).double()  # [S, N * H * W]
    sums = values.new_zeros(len(values), int(groups.max()) + 1)
    areas = torch.bincount(groups, minlength=sums.shape[1])
    sums = sums.scatter_add_(1, groups.expand_as(values), values)
    chosen = first_within((sums / areas)[None], tau)[0]
    return chosen[groups].view_as(segments)


def by_class(
    segments: Tensor, names: Sequence[str], spaces: Sequence[str], wanted: Mapping[str, str]
) -> Tensor:
    """The ablation of Fig. 4.7: segments [N, H, W] => choice, a fixed space for each name.

    `wanted`: name => space, or "finest"; names that it lacks are inverted in the first space.
    """
    check_classes(names, spaces, wanted)
    _check_indices(segments, names)
    ranks = dict(zip(spaces, range(len(spaces)), strict=True)) | {FINEST: len(spaces) - 1}
    table = torch.tensor([ranks[wanted.get(name, spaces[0])] for name in names])
    return table.to(segments.device)[segments.long()]


def check_classes(names: Sequence[str], spaces: Sequence[str], wanted: Mapping[str, str]) -> None:
    """`wanted`, segment => space or "finest", is to name segments and spaces that there are."""
    known = (*spaces, FINEST)
    if unknown := {space for space in wanted.values() if space not in known}:
        raise ValueError(
            f"expected spaces among {', '.join(known)} for the segments, got "
            f"{', '.join(sorted(unknown))}: choose one, or set spaces"
        )
    if foreign := [name for name in wanted if name not in names]:
        raise ValueError(
            f"expected segments among {', '.join(names)}, got {', '.join(foreign)}: name what the "
            "parser tells"
        )


def _groups(segments: Tensor) -> Tensor:
    """segments [N, H, W] => numbers from 0, one for each segment of each row, none left out.

    Numbers of segments may be of any size: tables go by how many there are.
    """
    unique, ids = torch.unique(segments, return_inverse=True)
    rows = torch.arange(len(segments), device=segments.device)[:, None, None]
    out: Tensor = torch.unique(ids + len(unique) * rows, return_inverse=True)[1]
    return out


def _check_size(segments: Tensor, like: Tensor) -> None:
    if segments.shape != like.shape:
        raise ValueError(
            f"expected segments {list(like.shape)}, got {list(segments.shape)}: "
            "segment the same pictures, at their size"
        )


def _check_indices(segments: Tensor, names: Sequence[str]) -> None:
    low, high = (int(x) for x in torch.aminmax(segments))
    if low < 0 or high >= len(names):
        raise ValueError(
            f"expected indices of the {len(names)} segments {', '.join(names)}, got {low} to "
            f"{high}: give what the parser tells"
        )
