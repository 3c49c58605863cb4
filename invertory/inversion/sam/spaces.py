"""Selecting the latent space of each pixel from its predicted error in each space.

Spatially-Adaptive Multilayer Selection, Parmar et al. 2022, https://arxiv.org/abs/2206.08357,
sections 3.1 and 3.2. Spaces are ordered from the most editable (W+) to the finest; a choice is an
index into them for every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from torch import nn

FINEST: Final = "finest"  # the last space, a name that every generator accepts


class Predictor(Protocol):
    """A network that predicts how hard an image is to invert."""

    spaces: tuple[str, ...]
    unit: Tensor  # [], the error that plain images rarely exceed in the first space

    def __call__(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W] in [-1, 1] => errors [N, num_spaces, h, w], 0 or more."""
        ...


class Segmenter(Protocol):
    """A network that predicts the segment of each pixel."""

    segments: tuple[str, ...]

    def segment(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W] in [-1, 1] => index into `segments`, [N, H, W]."""
        ...


def network_of(networks: Mapping[str, nn.Module], kind: str, remedy: str) -> nn.Module:
    """Return the network of that kind, or raise ValueError with the remedy."""
    if kind not in networks:
        raise ValueError(
            f"expected a network {kind!r}, got {sorted(networks) or 'none'}: pass "
            f"networks={{{kind!r}: ...}}, or {remedy}"
        )
    return networks[kind]


def check_predicts(known: Sequence[str], spaces: Sequence[str]) -> None:
    """Check that the predictor's spaces, `known`, include the requested ones."""
    if missing := [name for name in spaces if name not in known]:
        raise ValueError(
            f"expected a predictor of {', '.join(spaces)}, got one of {', '.join(known)}: train "
            f"one for {', '.join(missing)}, or change spaces"
        )


@torch.no_grad()
def predict_errors(network: nn.Module, images: Tensor, spaces: Sequence[str], px: int) -> Tensor:
    """Predict errors [N, S, px, px] of the spaces, in the predictor's unit.

    Images run one at a time, so that no row depends on others.
    """
    predictor = cast("Predictor", network)
    check_predicts(predictor.spaces, spaces)
    columns = [predictor.spaces.index(name) for name in spaces]
    rows = [predictor(image)[:, columns] / predictor.unit for image in torch.split(images, 1)]
    return interpolate(torch.cat(rows).float(), size=(px, px), mode="bilinear", antialias=True)


@torch.no_grad()
def segment_images(network: nn.Module, images: Tensor, fused: Sequence[str]) -> Tensor:
    """Segment [N, H, W] of every pixel; the segments in `fused` count as one."""
    parser = cast("Segmenter", network)
    indices = torch.cat([parser.segment(image) for image in torch.split(images, 1)]).long()
    _check_size(indices, images[:, 0])
    _check_indices(indices, parser.segments)
    known = [parser.segments.index(name) for name in fused if name in parser.segments]
    table = torch.arange(len(parser.segments), device=indices.device)
    if known:
        table[known] = known[0]
    return table[indices]


def first_within(errors: Tensor, tau: float) -> Tensor:
    """errors [N, S, ...] => the first space with an error of at most tau, else the last."""
    is_within = (errors <= tau).int()
    is_within[:, -1] = 1
    return (is_within.cumsum(1) == 0).sum(1)


def choose_by_segment(errors: Tensor, segments: Tensor, tau: float) -> Tensor:
    """errors [N, S, H, W], segments [N, H, W] => choice [N, H, W], one space per segment.

    Section 3.2: each segment takes the most editable space whose mean error is at most tau.
    """
    _check_size(segments, errors[:, 0])
    groups = _groups(segments).flatten()
    values = errors.transpose(0, 1).flatten(1).double()  # [S, N * H * W]
    sums = values.new_zeros(len(values), int(groups.max()) + 1)
    areas = torch.bincount(groups, minlength=sums.shape[1])
    sums = sums.scatter_add_(1, groups.expand_as(values), values)
    chosen = first_within((sums / areas)[None], tau)[0]
    return chosen[groups].view_as(segments)


def choose_by_class(
    segments: Tensor, names: Sequence[str], spaces: Sequence[str], class_spaces: Mapping[str, str]
) -> Tensor:
    """The ablation of Fig. 4.7: segments [N, H, W] => choice, a fixed space for each name.

    `class_spaces` maps name => space or "finest"; names not in it take the first space.
    """
    check_classes(names, spaces, class_spaces)
    _check_indices(segments, names)
    ranks = dict(zip(spaces, range(len(spaces)), strict=True)) | {FINEST: len(spaces) - 1}
    table = torch.tensor([ranks[class_spaces.get(name, spaces[0])] for name in names])
    return table.to(segments.device)[segments.long()]


def check_classes(
    names: Sequence[str], spaces: Sequence[str], class_spaces: Mapping[str, str]
) -> None:
    """Check that `class_spaces`, segment => space or "finest", names only known ones."""
    known = (*spaces, FINEST)
    if unknown := {space for space in class_spaces.values() if space not in known}:
        raise ValueError(
            f"expected spaces among {', '.join(known)} for the segments, got "
            f"{', '.join(sorted(unknown))}: choose one, or change spaces"
        )
    if foreign := [name for name in class_spaces if name not in names]:
        raise ValueError(
            f"expected segments among {', '.join(names)}, got {', '.join(foreign)}: name segments "
            "of the parser"
        )


def _groups(segments: Tensor) -> Tensor:
    """segments [N, H, W] => consecutive numbers from 0, one for each segment of each row.

    Segment indices may be of any size: the tables depend only on how many there are.
    """
    unique, ids = torch.unique(segments, return_inverse=True)
    rows = torch.arange(len(segments), device=segments.device)[:, None, None]
    out: Tensor = torch.unique(ids + len(unique) * rows, return_inverse=True)[1]
    return out


def _check_size(segments: Tensor, like: Tensor) -> None:
    if segments.shape != like.shape:
        raise ValueError(
            f"expected segments {list(like.shape)}, got {list(segments.shape)}: segment the same "
            "images, at their size"
        )


def _check_indices(segments: Tensor, names: Sequence[str]) -> None:
    low, high = (int(x) for x in torch.aminmax(segments))
    if low < 0 or high >= len(names):
        raise ValueError(
            f"expected indices of the {len(names)} segments {', '.join(names)}, got {low} to "
            f"{high}: pass the parser's indices"
        )
