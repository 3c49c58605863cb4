"""SAMM: what the generator cannot draw is taken from the input, the rest is aligned to it.

Out-of-domain GAN Inversion via Invertibility Decomposition for Photo-Realistic Human Face
Manipulation, Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262. An encoder gives the latent;
`invertory/networks/samm/network.py`, trained for this generator and encoder, warps the generator's
features towards the picture and says in a mask which pixels are to be the input's (1) and which the
generator's (0).

The input is the inversion's state, with 8 bits: a picture is drawn by looking at it again. Edits
are drawn as published: flows and masks are estimated anew, on the edited features against those of
the unedited input. So a change of pose or shape is partly undone by the flow: `align_edits: false`
leaves edited latents unwarped.

`iterations` above 1 are further passes of the base, in the manner of ReStyle. The base `restyle`
goes from the mean latent by what its network says is lacking. Any other is called again, on the
picture of its own latent, and w_plus moves by E(input) - E(G(w_plus)): of use where the encoder was
trained so. The bundled one was not, and reconstruction falls (benchmarks/samm_ablations.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.view import View, channels_last
from invertory.inversion.feed_forward import Told, encoder_of
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.samm.blending import (
    MASK,
    STORED,
    TARGET,
    Blended,
    Parts,
    input_of,
    reduced,
    shown,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.inversion.method import Inversion, Space
    from invertory.networks.samm.network import Aligned
    from invertory.perceptual import Perceptual

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMM(Told):
    """Encode, align, mask, blend. Without draws: the seeds change nothing."""

    space: ClassVar[Space] = "w_plus"
    has_state: ClassVar[bool] = True
    maps: ClassVar[tuple[str, ...]] = (MASK,)

    base: Literal["encoder", "e4e", "psp", "restyle"] = field(
        default="encoder", metadata={"description": "kind of the network that gives the latent"}
    )
    iterations: int = field(
        default=1,
        metadata={
            "description": "passes of the base, as ReStyle's (5 as published); above 1 only of a "
            "base that was trained so, others lose by it"
        },
    )
    cycles: int = field(
        default=0, metadata={"description": "N, of alignment and mask; 0: as it was trained"}
    )
    alignment: Literal["auto", "full", "none", "skipped"] = field(
        default="auto",
        metadata={
            "description": "auto: as trained; full or none: only of a network trained so; "
            "skipped: masks without warps (table 3)"
        },
    )
    align_edits: bool = field(
        default=True,
        metadata={"description": "warp edited latents too; no: keeps changes of pose whole"},
    )
    samm: str = field(
        default="auto",
        metadata={"description": "address of SAMM's modules; auto: those for this generator"},
    )
    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder they were trained with, which shows maps"},
    )
    e4e: str = field(
        default="auto",
        metadata={
            "description": "address of e4e's, where it is base",
            "applies": (("base", "==", "e4e"),),
        },
    )
    psp: str = field(
        default="auto",
        metadata={
            "description": "address of pSp's, where it is base",
            "applies": (("base", "==", "psp"),),
        },
    )
    restyle: str = field(
        default="auto",
        metadata={
            "description": "address of ReStyle's, where it is base",
            "applies": (("base", "==", "restyle"),),
        },
    )

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.cycles < 0:
            raise ValueError(
                f"expected iterations from 1 and cycles from 0, got {self.iterations} and "
                f"{self.cycles}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoder whose maps are looked at, the modules, and what gives the latent."""
        return ("encoder", "samm", *((self.base,) if self.base != "encoder" else ()))

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => w_plus, the input, masks; see `Method`.

        The loss told is that of the picture as it is drawn from the store.
        """
        parts = self._parts(networks, generator)
        view = View.of(generator, perceptual, targets, preview=False, max_px=self.loss_px)
        base = encoder_of(networks, generator, self.base)
        if self.precision == "bfloat16":
            channels_last(generator, perceptual, base, parts.encoder, parts.samm)
        is_whole = view.size_px == generator.resolution == targets.shape[-1]
        results = ("w_plus", MASK, STORED, *(("synth",) if is_whole else ()))
        objective = Blended(
            self,
            view,
            base,
            align=partial(self.aligned, parts),
            iterations=self.iterations,
            is_residual=self.base == "restyle",
            results=results,
        )
        engine = Engine(steps=0, precision=self.precision)
        outcome = engine.run(objective, targets, seeds=seeds, batch_size=batch_size)
        made = outcome.results
        return replace(
            outcome.inversion(self.space, made["w_plus"]),
            state={TARGET: made[STORED].to(torch.uint8)},
            maps={MASK: reduced(made[MASK], made[STORED].shape[-1])},
            synths=made.get("synth"),
        )

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
        """w_plus [N, num_ws, w_dim], edited from `origin`, and the state => [N, 3, R, R].

        Flow and mask are those of the edited features against the input; see above on pose.
        """
        parts = self._parts(networks, generator)
        pictures = shown(input_of(state, w_plus, parts), generator.resolution).to(w_plus.device)
        is_edited = (w_plus != origin).flatten(1).any(1)
        if bool(is_edited.any()) and self.align_edits:
            _tell_of_pose(self)
        is_unwarped = is_edited & (not self.align_edits)
        made = torch.zeros_like(pictures)
        for is_skipped in (False, True):
            rows = is_unwarped == is_skipped
            if bool(rows.any()):
                with torch.autocast(
                    w_plus.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
                ):
                    found = self.aligned(parts, w_plus[rows], pictures[rows], is_skipped=is_skipped)
                made[rows] = torch.lerp(found.synth.float(), pictures[rows], found.mask())
        return made

    def aligned(
        self, parts: Parts, w_plus: Tensor, pictures: Tensor, *, is_skipped: bool = False
    ) -> Aligned:
        """The synthesis of w_plus, aligned to the pictures [N, 3, R, R]."""
        return parts.samm.align(
            parts.generator,
            w_plus,
            parts.encoder.tapped(pictures)[1],
            cycles=self.cycles or None,
            is_skipped=is_skipped or self.alignment == "skipped",
        )

    def _parts(self, networks: Mapping[str, nn.Module], generator: Generator) -> Parts:
        """The networks, if they fit each other and the settings."""
        parts = Parts.of(networks, generator)
        trained = parts.samm.alignment
        if self.alignment in ("full", "none") and self.alignment != trained:
            raise ValueError(
                f"expected a samm network trained with alignment {self.alignment!r}, got one with "
                f"{trained!r}: name another, or say auto or skipped"
            )
        return parts


@cache  # once for these settings, not at each batch
def _tell_of_pose(method: SAMM) -> None:
    _log.warning(
        "samm aligns edited pictures to the input, which partly undoes changes of pose and shape; "
        "align_edits: false leaves edits whole"
    )
