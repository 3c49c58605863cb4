"""The choice of a space for every pixel, as a method's settings ask for it, and its maps.

Shared by the variants of spatially-adaptive inversion (see sam.py for the paper); what decides lies
in space_choice.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.f_space import SPACES, checked_spaces, features_of, layer_aware
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.sam.spaces import (
    FINEST,
    by_class,
    check_classes,
    check_predicts,
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
    from invertory.inversion.engine.view import View

Preset = Literal["paper", "code"]
ByWhat = Literal["segments", "pixels", "classes"]

TAU = 1.0  # of the predictor's unit
FUSED = ("skin", "brows", "eyes", "mouth")  # of which a parser may lack some
HARD = ("background", "ood")  # segments that a generator of faces seldom draws well


@dataclass(frozen=True, slots=True)
class Choice:
    """A space for every pixel, at the size that the loss sees."""

    index: Tensor  # [N, px, px] int64, into the spaces
    errors: Tensor | None  # [N, S, px, px], where they were predicted
    num_spaces: int

    @property
    def is_known(self) -> Tensor:
        """[N] bool: every error that was predicted is a number."""
        if self.errors is None:
            return torch.ones_like(self.index[:, 0, 0], dtype=torch.bool)
        return self.errors.isfinite().flatten(1).all(1)

    def at(self, px: int) -> Tensor:
        """The index of each pixel of an image of that size, [N, px, px]."""
        return nearest(self.index, px)

    def refused(self) -> dict[int, str]:
        """Rows without a known choice => why."""
        rows = (~self.is_known).nonzero().flatten().tolist()
        return dict.fromkeys(rows, "the invertibility predictor gave a non-finite error")

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

    preset: Preset = field(
        default="code", metadata={"description": "where print and code differ, which is followed"}
    )
    spaces: tuple[str, ...] = field(
        default=(),
        metadata={"description": "W+, F2, F4, F6, F8, F10; none: the generator's; one: no choice"},
    )
    choice: ByWhat = field(
        default="segments",
        metadata={
            "description": "a space for each segment; ablations: each pixel, each class",
            "applies": (("spaces", "size !=", 1),),
        },
    )
    tau: float = field(
        default=TAU,
        metadata={
            "description": "most predicted error of a segment in a space, from 0; 1: what plain "
            "pictures rarely exceed in W+",
            "applies": (("spaces", "size !=", 1), ("choice", "in", ("segments", "pixels"))),
        },
    )
    fused: tuple[str, ...] = field(
        default=FUSED,
        metadata={
            "description": "segments that count as one, so that an edit moves all or none",
            "applies": (("spaces", "size !=", 1), ("choice", "==", "segments")),
        },
    )
    class_spaces: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "description": "choice classes: segment => space, or finest, others the first; none: "
            "background and ood the finest",
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
        """What is wrong whatever the generator; `check` has the rest."""
        _check_word("preset", self.preset, get_args(Preset))
        _check_word("choice", self.choice, get_args(ByWhat))
        if not (math.isfinite(self.tau) and self.tau >= 0):
            raise ValueError(
                f"expected tau from 0, a finite number, got {self.tau}: for W+ alone name the one "
                "space W+"
            )
        named = (*self.spaces, *self.class_spaces.values())
        unknown = [name for name in named if name not in (*SPACES, FINEST)]
        if unknown or FINEST in self.spaces or len(set(self.spaces)) < len(self.spaces):
            raise ValueError(
                f"expected spaces among {', '.join(SPACES)}, each once, and for a class {FINEST} "
                f"too, got {', '.join(unknown or self.spaces)}"
            )

    def check(self, generator: Generator, told: Mapping[str, Mapping[str, Any]]) -> None:
        """See `invertory.inversion.method.Checking`."""
        spaces = self.wanted(generator, told)
        if known := told.get("invertibility", {}).get("spaces"):
            check_predicts(known, spaces)
        segments = told.get("parser", {}).get("segments", ())
        if segments:
            self.check_segments(segments)
        if self.choice == "classes":
            check_classes(segments or tuple(self.class_spaces), spaces, self.class_spaces)

    def wanted(
        self, generator: Generator, told: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, ...]:
        """The spaces, the most editable first, of a generator and of networks as they are told."""
        return checked_spaces(generator, self.spaces)

    def check_segments(self, segments: Sequence[str]) -> None:
        """Segments that are to be fused are the parser's, or usual ones that it lacks."""
        known = (*segments, *(name for name in FUSED if name not in segments))
        if unknown := [name for name in self.fused if name not in known]:
            raise ValueError(
                f"expected segments to fuse among {', '.join(known)}, got {', '.join(unknown)}: "
                "name what the parser tells"
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

        `segmentation` [N, H, H] takes the place of the parser's, with nothing fused; by classes its
        numbers are indices of the parser's segments.
        """
        px, given = view.size_px, self._given(segmentation, targets)
        pictures = view.resize(targets)
        if len(self.spaces) == 1:
            index = torch.zeros(len(targets), px, px, dtype=torch.int64, device=targets.device)
            return Choice(index, None, 1)
        if self.choice == "classes":
            return Choice(self._by_class(pictures, spaces, networks, given), None, len(spaces))
        network = network_of(networks, "invertibility", "set choice to classes, or name one space")
        if self.choice == "segments" and given is None:  # before predictions are made
            remedy = "give segmentation=..., or set choice to pixels"
            self.check_segments(_segments(network_of(networks, "parser", remedy)))
        errors = predicted(network, pictures, spaces, px)
        if self.choice == "pixels":
            return Choice(first_within(errors, self.tau), errors, len(spaces))
        segments = (
            segmented(networks["parser"], pictures, self.fused)
            if given is None
            else nearest(given, px)
        )
        return Choice(refined(errors, segments, self.tau), errors, len(spaces))

    def _by_class(
        self,
        pictures: Tensor,
        spaces: Sequence[str],
        networks: Mapping[str, nn.Module],
        given: Tensor | None,
    ) -> Tensor:
        """pictures [N, 3, px, px] => the index of each pixel's class."""
        parser = network_of(networks, "parser", "name another choice than classes")
        names, px = _segments(parser), pictures.shape[-1]
        wanted = self.class_spaces or {name: FINEST for name in HARD if name in names}
        segments = segmented(parser, pictures, ()) if given is None else nearest(given, px)
        return by_class(segments, names, spaces, wanted)

    def _given(self, segmentation: Tensor | None, targets: Tensor) -> Tensor | None:
        """A segmentation [N, H, H] of the caller's, where the choice goes by one."""
        if segmentation is None:
            return None
        if "parser" not in self.choosers:
            what = f"one space, {self.spaces[0]}" if len(self.spaces) == 1 else "choice pixels"
            raise ValueError(
                f"expected no segmentation with {what}, got one: leave it out, or name spaces "
                "and the choice segments or classes"
            )
        return _fitting(segmentation, targets)

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


def _segments(parser: nn.Module) -> tuple[str, ...]:
    """Names of what a parser tells apart."""
    names = tuple(getattr(parser, "segments", ()))
    if not names:
        raise ValueError(
            f"expected a parser with the names of its `segments`, got a {type(parser).__name__}"
        )
    return names


def _check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ValueError(f"expected {name} among {', '.join(known)}, got {word!r}: choose one")


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
