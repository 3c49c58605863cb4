"""The choice of a latent space for every pixel, its settings, and its maps.

Both variants of spatially-adaptive inversion share it (see optimisation.py for the paper);
spaces.py has the algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.f_space import SPACES, features_of, resolve_spaces, synthesise_layer_aware
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.sam.spaces import (
    FINEST,
    check_classes,
    check_predicts,
    choose_by_class,
    choose_by_segment,
    first_within,
    network_of,
    predict_errors,
    segment_images,
)

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.inversion.engine.view import View

Preset = Literal["paper", "code"]
ChoiceUnit = Literal["segments", "pixels", "classes"]

TAU = 1.0  # in the predictor's unit
FUSED = ("skin", "brows", "eyes", "mouth")  # some parsers lack some of these
HARD = ("background", "ood")  # segments that a generator of faces rarely draws well


@dataclass(frozen=True, slots=True)
class SpaceChoice:
    """A space for every pixel, at the size at which the loss is computed."""

    index: Tensor  # [N, px, px] int64, into the spaces
    errors: Tensor | None  # [N, S, px, px], if they were predicted
    num_spaces: int

    @property
    def is_known(self) -> Tensor:
        """[N] bool: whether every predicted error of the row is finite."""
        if self.errors is None:
            return torch.ones_like(self.index[:, 0, 0], dtype=torch.bool)
        return self.errors.isfinite().flatten(1).all(1)

    def at(self, px: int) -> Tensor:
        """The index of each pixel of an image of `px` pixels a side, [N, px, px]."""
        return resize_nearest(self.index, px)

    def refused(self) -> dict[int, str]:
        """Rows without a known choice => reason."""
        rows = (~self.is_known).nonzero().flatten().tolist()
        return dict.fromkeys(rows, "the invertibility predictor gave a non-finite error")

    def maps(self, method: SpaceChoiceConfig) -> dict[str, Tensor]:
        """What was predicted and chosen, for display: [N, 1, px, px] in [0, 1] on the CPU."""
        maps = {"spaces": self.index[:, None].float() / max(self.num_spaces - 1, 1)}
        if self.errors is not None:
            share = (self.errors[:, :1] / (2 * method.tau)).nan_to_num(1.0)
            maps["invertibility"] = (1 - share).clamp(0, 1)
        return {name: maps[name].cpu() for name in method.maps}


@dataclass(frozen=True, kw_only=True)  # no slots: this class is combined with a base that has some
class SpaceChoiceConfig:
    """Settings of the choice, its maps, and layer-aware edits."""

    has_state: ClassVar[bool] = True

    preset: Preset = field(
        default="code",
        metadata={"description": "which to follow where the paper and its code differ"},
    )
    spaces: tuple[str, ...] = field(
        default=(),
        metadata={
            "description": "W+, F2, F4, F6, F8, F10; none: the generator's; a single one: no choice"
        },
    )
    choice: ChoiceUnit = field(
        default="segments",
        metadata={
            "description": "one space per segment; ablations: per pixel or per class",
            "applies": (("spaces", "size !=", 1),),
        },
    )
    tau: float = field(
        default=TAU,
        metadata={
            "description": "largest mean predicted error of a segment in a space, from "
            "0; 1: what plain images rarely exceed in W+",
            "applies": (("spaces", "size !=", 1), ("choice", "in", ("segments", "pixels"))),
        },
    )
    fused: tuple[str, ...] = field(
        default=FUSED,
        metadata={
            "description": "segments that count as one, so that an edit moves all of them or none",
            "applies": (("spaces", "size !=", 1), ("choice", "==", "segments")),
        },
    )
    class_spaces: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "description": "choice classes: segment => space or finest, others the "
            "first; none: background and ood in the finest",
            "applies": (("spaces", "size !=", 1), ("choice", "==", "classes")),
        },
    )
    invertibility: str = field(
        default="auto",
        metadata={
            "description": "address of the predictor; auto: the one for this generator",
            "applies": (("spaces", "size !=", 1), ("choice", "in", ("segments", "pixels"))),
        },
    )
    parser: str = field(
        default="auto",
        metadata={
            "description": "address of the segmenter; auto: the one for this generator",
            "applies": (("spaces", "size !=", 1), ("choice", "in", ("segments", "classes"))),
        },
    )

    def __post_init__(self) -> None:
        """Check what does not depend on the generator; `check` checks the rest."""
        _check_word("preset", self.preset, get_args(Preset))
        _check_word("choice", self.choice, get_args(ChoiceUnit))
        if not (math.isfinite(self.tau) and self.tau >= 0):
            raise ValueError(
                f"expected tau to be finite and 0 or more, got {self.tau}: to invert in W+ alone, "
                "set spaces to W+"
            )
        named = (*self.spaces, *self.class_spaces.values())
        unknown = [name for name in named if name not in (*SPACES, FINEST)]
        if unknown or FINEST in self.spaces or len(set(self.spaces)) < len(self.spaces):
            raise ValueError(
                f"expected spaces among {', '.join(SPACES)}, each once, and for a class also "
                f"{FINEST}, got {', '.join(unknown or self.spaces)}"
            )

    def check(self, generator: Generator, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """See `invertory.inversion.method.SupportsCheck`."""
        spaces = self.resolve_spaces(generator, configs)
        if known := configs.get("invertibility", {}).get("spaces"):
            check_predicts(known, spaces)
        segments = configs.get("parser", {}).get("segments", ())
        if segments:
            self.check_segments(segments)
        if self.choice == "classes":
            check_classes(segments or tuple(self.class_spaces), spaces, self.class_spaces)

    def resolve_spaces(
        self, generator: Generator, configs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, ...]:
        """Return the spaces, the most editable first, for a generator and the networks' configs."""
        return resolve_spaces(generator, self.spaces)

    def check_segments(self, segments: Sequence[str]) -> None:
        """Check that each segment to fuse is one of the parser's, or a default that it lacks."""
        known = (*segments, *(name for name in FUSED if name not in segments))
        if unknown := [name for name in self.fused if name not in known]:
            raise ValueError(
                f"expected segments to fuse among {', '.join(known)}, got {', '.join(unknown)}: "
                "name segments of the parser"
            )

    @property
    def choosers(self) -> tuple[str, ...]:
        """Kinds of the networks that the choice needs; empty if there is only one space."""
        kinds = {"segments": ("invertibility", "parser"), "pixels": ("invertibility",)}
        return () if len(self.spaces) == 1 else kinds.get(self.choice, ("parser",))

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps.

        `invertibility` is 1 for no error in the first space, 0.5 for an error of tau, and 0 for
        twice that or more; `spaces` goes from 0 (the first space) to 1 (the finest).
        """
        if len(self.spaces) == 1:
            return ()
        return ("spaces",) if self.choice == "classes" else ("invertibility", "spaces")

    def choose(
        self,
        view: View,
        targets: Tensor,
        spaces: Sequence[str],
        networks: Mapping[str, nn.Module],
        segmentation: Tensor | None = None,
    ) -> SpaceChoice:
        """Choose an index into `spaces` for every pixel of the view; targets [N, 3, H, H].

        `segmentation` [N, H, H] replaces the parser's segments, with nothing fused; with the choice
        classes, its values are indices of the parser's segments. Raises `ValueError` if a network
        is missing or the segmentation does not fit.
        """
        px, caller_segments = view.size_px, self._checked_segmentation(segmentation, targets)
        images = view.resize(targets)
        if len(self.spaces) == 1:
            index = torch.zeros(len(targets), px, px, dtype=torch.int64, device=targets.device)
            return SpaceChoice(index, None, 1)
        if self.choice == "classes":
            return SpaceChoice(
                self._choose_by_class(images, spaces, networks, caller_segments), None, len(spaces)
            )
        network = network_of(networks, "invertibility", "set choice to classes, or name one space")
        # check before the predictions, which take time
        if self.choice == "segments" and caller_segments is None:
            remedy = "pass segmentation=..., or set choice to pixels"
            self.check_segments(_segments(network_of(networks, "parser", remedy)))
        errors = predict_errors(network, images, spaces, px)
        if self.choice == "pixels":
            return SpaceChoice(first_within(errors, self.tau), errors, len(spaces))
        segments = (
            segment_images(networks["parser"], images, self.fused)
            if caller_segments is None
            else resize_nearest(caller_segments, px)
        )
        return SpaceChoice(choose_by_segment(errors, segments, self.tau), errors, len(spaces))

    def _choose_by_class(
        self,
        images: Tensor,
        spaces: Sequence[str],
        networks: Mapping[str, nn.Module],
        caller_segments: Tensor | None,
    ) -> Tensor:
        """images [N, 3, px, px] => the index of the space of each pixel's class."""
        parser = network_of(networks, "parser", "name another choice than classes")
        names, px = _segments(parser), images.shape[-1]
        class_spaces = self.class_spaces or {name: FINEST for name in HARD if name in names}
        segments = (
            segment_images(parser, images, ())
            if caller_segments is None
            else resize_nearest(caller_segments, px)
        )
        return choose_by_class(segments, names, spaces, class_spaces)

    def _checked_segmentation(self, segmentation: Tensor | None, targets: Tensor) -> Tensor | None:
        """Check the caller's segmentation [N, H, H], if the choice uses one."""
        if segmentation is None:
            return None
        if "parser" not in self.choosers:
            what = f"one space, {self.spaces[0]}" if len(self.spaces) == 1 else "choice pixels"
            raise ValueError(
                f"expected no segmentation with {what}, got one: leave it out, or set several "
                "spaces and the choice segments or classes"
            )
        return _check_segmentation(segmentation, targets)

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
        return synthesise_layer_aware(generator, w_plus, features, origin, keep_rgb=keep_rgb)


def resize_nearest(index: Tensor, px: int) -> Tensor:
    """Resize by nearest neighbour, [N, h, h] => [N, px, px]."""
    if index.shape[-1] == px:
        return index
    return interpolate(index[:, None].double(), size=(px, px), mode="nearest-exact")[:, 0].long()


def _segments(parser: nn.Module) -> tuple[str, ...]:
    """Names of a parser's segments."""
    names = tuple(getattr(parser, "segments", ()))
    if not names:
        raise ValueError(
            f"expected a parser with the names of its `segments`, got a {type(parser).__name__}"
        )
    return names


def _check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ValueError(f"expected {name} among {', '.join(known)}, got {word!r}: choose one")


def _check_segmentation(segmentation: Tensor, targets: Tensor) -> Tensor:
    """Check a segmentation and return indices [N, H, H] of the targets' size."""
    shape = (len(targets), *targets.shape[-2:])
    if tuple(segmentation.shape) != shape or segmentation.is_floating_point():
        raise ValueError(
            f"expected a segmentation {list(shape)} of integers, got {list(segmentation.shape)} of "
            f"{segmentation.dtype}: segment the targets themselves"
        )
    if segmentation.min() < 0:
        raise ValueError(f"expected segment indices of 0 or more, got {int(segmentation.min())}")
    return segmentation.to(targets.device).long()
