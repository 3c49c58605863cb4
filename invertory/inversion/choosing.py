"""The choice of a space for every pixel, as a method's settings ask for it, and its maps.

Shared by the variants of spatially-adaptive inversion (see sam.py for the paper); what decides lies
in space_choice.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.inversion.space_choice import (
    by_class,
    first_within,
    network_of,
    predicted,
    refined,
    segmented,
)

if TYPE_CHECKING:
    from torch import nn

    from invertory.inversion.view import View


class Choosing(Protocol):
    """What settings say of the choice."""

    @property
    def spaces(self) -> tuple[str, ...]:
        """None: the generator's; one: there is no choice to make."""
        ...

    @property
    def choice(self) -> Literal["segments", "pixels", "classes"]: ...

    @property
    def tau(self) -> float: ...

    @property
    def fused(self) -> tuple[str, ...]: ...

    @property
    def class_spaces(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """A space for every pixel, at the size that the loss sees."""

    index: Tensor  # [N, px, px] int64, into the spaces
    errors: Tensor | None  # [N, S, px, px], where they were predicted
    num_spaces: int

    def marked(self, targets: Tensor) -> Tensor:
        """targets [N, 3, H, H] with the choice as a fourth channel."""
        index = nearest(self.index, targets.shape[-1])
        return torch.cat([targets, index[:, None].to(targets)], 1)

    def maps(self, method: Choosing) -> dict[str, Tensor]:
        """[N, 1, px, px] in [0, 1] on the CPU: what was predicted and chosen, to look at."""
        maps = {"spaces": self.index[:, None].float() / max(self.num_spaces - 1, 1)}
        if self.errors is not None:
            share = (self.errors[:, :1] / (2 * method.tau)).nan_to_num(1.0)
            maps["invertibility"] = (1 - share).clamp(0, 1)
        return {name: maps[name].cpu() for name in maps_for(method)}


def networks_for(method: Choosing) -> tuple[str, ...]:
    """Kinds of the networks that the choice takes."""
    kinds = {"segments": ("invertibility", "parser"), "pixels": ("invertibility",)}
    return () if len(method.spaces) == 1 else kinds.get(method.choice, ("parser",))


def maps_for(method: Choosing) -> tuple[str, ...]:
    """Names of the maps: none where there is no choice."""
    if len(method.spaces) == 1:
        return ()
    return ("spaces",) if method.choice == "classes" else ("invertibility", "spaces")


def chosen(
    method: Choosing,
    view: View,
    targets: Tensor,
    spaces: Sequence[str],
    networks: Mapping[str, nn.Module],
    segmentation: Tensor | None = None,
) -> Choice:
    """targets [N, 3, H, H] => an index into `spaces` for every pixel of the view.

    `segmentation` [N, H, H] takes the place of the parser's, where that is for segments alone.
    """
    given = None if segmentation is None else _fitting(segmentation, targets)
    px, pictures = view.size_px, view.resize(targets)
    if len(method.spaces) == 1:
        index = torch.zeros(len(targets), px, px, dtype=torch.int64, device=targets.device)
        return Choice(index, None, 1)
    if method.choice == "classes":
        parser = network_of(networks, "parser", "name another choice than classes")
        names: tuple[str, ...] = tuple(getattr(parser, "segments", ()))
        segments = segmented(parser, pictures, ()) if given is None else nearest(given, px)
        return Choice(by_class(segments, names, spaces, method.class_spaces), None, len(spaces))
    network = network_of(networks, "invertibility", "set choice to classes, or name one space")
    errors = predicted(network, pictures, spaces, px)
    if method.choice == "pixels":
        return Choice(first_within(errors, method.tau), errors, len(spaces))
    if given is None:
        parser = network_of(networks, "parser", "give segmentation=..., or set choice to pixels")
        segments = segmented(parser, pictures, method.fused)
    else:
        segments = nearest(given, px)
    return Choice(refined(errors, segments, method.tau), errors, len(spaces))


def nearest(index: Tensor, px: int) -> Tensor:
    """[N, h, h] => [N, px, px]: the index at the middle of each pixel."""
    if index.shape[-1] == px:
        return index
    return interpolate(index[:, None].double(), size=(px, px), mode="nearest-exact")[:, 0].long()


def _fitting(segmentation: Tensor, targets: Tensor) -> Tensor:
    """Indices [N, H, H] of the targets' size."""
    shape = (len(targets), *targets.shape[-2:])
    if tuple(segmentation.shape) != shape or segmentation.is_floating_point():
        raise ValueError(
            f"expected a segmentation {list(shape)} of integers, got {list(segmentation.shape)} of "
            f"{segmentation.dtype}: segment the targets themselves"
        )
    if segmentation.min() < 0:
        raise ValueError(f"expected segments from 0, got {int(segmentation.min())}")
    return segmentation.to(targets.device).long()
