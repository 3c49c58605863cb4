"""The choice of a space for every pixel, as a method's settings ask for it, and its maps.

Shared by the variants of spatially-adaptive inversion (see sam.py for the paper); what decides lies
in space_choice.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.f_space import features_of, layer_aware
from invertory.inversion import NO_NETWORKS
from invertory.inversion.space_choice import (
    FINEST,
    by_class,
    first_within,
    network_of,
    predicted,
    refined,
    segmented,
)

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.inversion.view import View

TAU = 1.0  # of the predictor's unit
HARD = ("background", "ood")  # segments that a generator of faces seldom draws well


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
        return {name: maps[name].cpu() for name in method.maps}


@dataclass(frozen=True, kw_only=True)  # without slots: it stands beside a base that has some
class Choosing:
    """Settings of the choice, and what follows from it: maps, and edits layer by layer."""

    has_state: ClassVar[bool] = True

    preset: Literal["paper", "code"] = field(
        default="code", metadata={"description": "where print and code differ, which is followed"}
    )
    spaces: tuple[str, ...] = field(
        default=(),
        metadata={"description": "W+, F2, F4, F6, F8, F10; none: the generator's; one: no choice"},
    )
    choice: Literal["segments", "pixels", "classes"] = field(
        default="segments",
        metadata={"description": "a space for each segment; ablations: each pixel, each class"},
    )
    tau: float = field(
        default=TAU,
        metadata={
            "description": "most predicted error of a segment in a space; 1: what plain pictures "
            "rarely exceed in W+"
        },
    )
    fused: tuple[str, ...] = field(
        default=("skin", "brows", "eyes", "mouth"),
        metadata={"description": "segments that count as one, so that an edit moves all or none"},
    )
    class_spaces: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "description": "choice classes: segment => space, or finest, others the first; none: "
            "background and ood the finest"
        },
    )
    invertibility: str = field(
        default="auto",
        metadata={"description": "address of the predictor; auto: the one for this generator"},
    )
    parser: str = field(
        default="auto",
        metadata={"description": "address of the segmenter; auto: the one for this generator"},
    )

    @property
    def choosers(self) -> tuple[str, ...]:
        """Kinds of the networks that the choice takes; none where there is none to make."""
        kinds = {"segments": ("invertibility", "parser"), "pixels": ("invertibility",)}
        return () if len(self.spaces) == 1 else kinds.get(self.choice, ("parser",))

    @property
    def maps(self) -> tuple[str, ...]:
        """`invertibility`: 1 no error in the first space, 0.5 an error of tau, 0 twice that or
        more; `spaces`: 0 the first to 1 the finest.
        """
        if len(self.spaces) == 1:
            return ()
        return ("spaces",) if self.choice == "classes" else ("invertibility", "spaces")

    def chosen(
        self,
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
        if len(self.spaces) == 1:
            index = torch.zeros(len(targets), px, px, dtype=torch.int64, device=targets.device)
            return Choice(index, None, 1)
        if self.choice == "classes":
            parser = network_of(networks, "parser", "name another choice than classes")
            names: tuple[str, ...] = tuple(getattr(parser, "segments", ()))
            segments = segmented(parser, pictures, ()) if given is None else nearest(given, px)
            wanted = self.class_spaces or {name: FINEST for name in HARD if name in names}
            return Choice(by_class(segments, names, spaces, wanted), None, len(spaces))
        network = network_of(networks, "invertibility", "set choice to classes, or name one space")
        errors = predicted(network, pictures, spaces, px)
        if self.choice == "pixels":
            return Choice(first_within(errors, self.tau), errors, len(spaces))
        if given is None:
            parser = network_of(
                networks, "parser", "give segmentation=..., or set choice to pixels"
            )
            segments = segmented(parser, pictures, self.fused)
        else:
            segments = nearest(given, px)
        return Choice(refined(errors, segments, self.tau), errors, len(spaces))

    @torch.no_grad()
    def draw(
        self,
        generator: Generator,
        w_plus: Tensor,
        state: State,
        *,
        origin: Tensor,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Tensor:
        """w_plus [N, num_ws, w_dim], edited from `origin`, and the state => [N, 3, R, R]."""
        features = features_of(generator, state, len(w_plus))
        keep_rgb = self.preset == "paper"
        return layer_aware(generator, w_plus, features, origin, keep_rgb=keep_rgb)


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
