"""SAMM: regions that the generator cannot draw are copied from the input; the rest is aligned.

Out-of-domain GAN Inversion via Invertibility Decomposition for Photo-Realistic Human Face
Manipulation, Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262. An encoder gives the latent.
`invertory/networks/samm/network.py`, trained for this generator and encoder, warps the generator's
features towards the image and predicts a mask of the pixels to take from the input (1) or from the
generator (0).

The input is the inversion's state, stored with 8 bits, because drawing an image needs it again.
Edits are drawn as published: flows and masks are estimated again, from the edited features and
those of the unedited input. The flow therefore partly undoes a change of pose or shape;
`align_edits: false` leaves edited latents unwarped.

`iterations` above 1 run further passes of the base, like ReStyle. The base `restyle` starts from
the mean latent and adds its network's residuals. Any other base encodes the image of its own latent
again, and w_plus moves by E(input) - E(G(w_plus)), which helps only if the encoder was trained so.
The bundled one was not, and its reconstruction gets worse (benchmarks/samm_ablations.py).
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
from invertory.inversion.feed_forward import FeedForwardConfig, encoder_of
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.samm.blending import (
    MASK,
    STORED,
    TARGET,
    BlendedObjective,
    SammNetworks,
    dequantise_targets,
    reduce_to,
    stored_targets,
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
class SAMM(FeedForwardConfig):
    """Encode, align, mask, blend. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    has_state: ClassVar[bool] = True
    maps: ClassVar[tuple[str, ...]] = (MASK,)

    base: Literal["encoder", "e4e", "psp", "restyle"] = field(
        default="encoder", metadata={"description": "kind of the network that gives the latent"}
    )
    iterations: int = field(
        default=1,
        metadata={
            "description": "passes of the base, as in ReStyle (5 as published); above 1 "
            "only for a base trained so, others get worse"
        },
    )
    cycles: int = field(
        default=0, metadata={"description": "N, the cycles of alignment and mask; 0: as trained"}
    )
    alignment: Literal["auto", "full", "none", "skipped"] = field(
        default="auto",
        metadata={
            "description": "auto: as trained; full or none: only for a network trained "
            "so; skipped: masks without warps (table 3)"
        },
    )
    align_edits: bool = field(
        default=True,
        metadata={"description": "warp edited latents too; no: keep changes of pose whole"},
    )
    samm: str = field(
        default="auto",
        metadata={"description": "address of SAMM's modules; auto: those for this generator"},
    )
    encoder: str = field(
        default="auto",
        metadata={
            "description": "address of the encoder that SAMM was trained with, whose feature "
            "maps it reads"
        },
    )
    e4e: str = field(
        default="auto",
        metadata={
            "description": "address of the e4e encoder, if it is the base",
            "applies": (("base", "==", "e4e"),),
        },
    )
    psp: str = field(
        default="auto",
        metadata={
            "description": "address of the pSp encoder, if it is the base",
            "applies": (("base", "==", "psp"),),
        },
    )
    restyle: str = field(
        default="auto",
        metadata={
            "description": "address of the ReStyle encoder, if it is the base",
            "applies": (("base", "==", "restyle"),),
        },
    )

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.cycles < 0:
            raise ValueError(
                f"expected iterations of 1 or more and cycles of 0 or more, got {self.iterations} "
                f"and {self.cycles}"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoder with the feature maps, SAMM's modules, and the base."""
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

        The reported loss is that of the image drawn from the store.
        """
        parts = self._networks(networks, generator)
        view = View.of(generator, perceptual, targets, preview=False, max_px=self.loss_px)
        base = encoder_of(networks, generator, self.base)
        if self.precision == "bfloat16":
            channels_last(generator, perceptual, base, parts.encoder, parts.samm)
        is_whole = view.size_px == generator.resolution == targets.shape[-1]
        results = ("w_plus", MASK, STORED, *(("synth",) if is_whole else ()))
        objective = BlendedObjective(
            self,
            view,
            base,
            align=partial(self.align, parts),
            iterations=self.iterations,
            is_residual=self.base == "restyle",
            results=results,
        )
        engine = Engine(steps=0, precision=self.precision)
        outcome = engine.run(objective, targets, seeds=seeds, batch_size=batch_size)
        tensors = outcome.results
        return replace(
            outcome.inversion(self.space, tensors["w_plus"]),
            state={TARGET: tensors[STORED].to(torch.uint8)},
            maps={MASK: reduce_to(tensors[MASK], tensors[STORED].shape[-1])},
            synths=tensors.get("synth"),
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

        Flow and mask compare the edited features with the input; the module docstring has the
        limits.
        """
        parts = self._networks(networks, generator)
        images = dequantise_targets(stored_targets(state, w_plus, parts), generator.resolution).to(
            w_plus.device
        )
        is_edited = (w_plus != origin).flatten(1).any(1)
        if bool(is_edited.any()) and self.align_edits:
            _warn_about_pose(self)
        is_unwarped = is_edited & (not self.align_edits)
        synths = torch.zeros_like(images)
        for is_skipped in (False, True):
            rows = is_unwarped == is_skipped
            if bool(rows.any()):
                with torch.autocast(
                    w_plus.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
                ):
                    aligned = self.align(parts, w_plus[rows], images[rows], is_skipped=is_skipped)
                synths[rows] = torch.lerp(aligned.synth.float(), images[rows], aligned.mask())
        return synths

    def align(
        self, parts: SammNetworks, w_plus: Tensor, images: Tensor, *, is_skipped: bool = False
    ) -> Aligned:
        """Synthesise w_plus, aligned to the images [N, 3, R, R]."""
        return parts.samm.align(
            parts.generator,
            w_plus,
            parts.encoder.tapped(images)[1],
            cycles=self.cycles or None,
            is_skipped=is_skipped or self.alignment == "skipped",
        )

    def _networks(self, networks: Mapping[str, nn.Module], generator: Generator) -> SammNetworks:
        """Return the networks, after checking that they fit each other and the settings."""
        parts = SammNetworks.of(networks, generator)
        trained = parts.samm.alignment
        if self.alignment in ("full", "none") and self.alignment != trained:
            raise ValueError(
                f"expected a samm network trained with alignment {self.alignment!r}, got one with "
                f"{trained!r}: name another, or set alignment to auto or skipped"
            )
        return parts


@cache  # log once per settings, not once per batch
def _warn_about_pose(method: SAMM) -> None:
    _log.warning(
        "samm aligns edited images to the input, which partly undoes changes of pose and shape; "
        "set align_edits: false to leave edits whole"
    )
