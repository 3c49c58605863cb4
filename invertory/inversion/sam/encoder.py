"""SAM by encoders: W+ and features of an image in one pass.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.3. A space is chosen for each segment as in
optimisation.py. Encoders that see the image and its map of spaces then predict w_plus and the
changes of features, which that method optimises. The paper's encoders were never released:
`invertory/networks/sam_encoder.py` documents what is printed, and
`invertory/training/sam/encoder.py` trains them. Masks, state and editing are the same as in
optimisation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from invertory.generators.deltas import dequantise, quantise
from invertory.generators.f_space import (
    DELTA,
    W_PLUS,
    Features,
    default_spaces,
    masks_of,
    resolve_spaces,
)
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View, channels_last
from invertory.inversion.feed_forward import FeedForwardConfig, FeedForwardObjective
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.sam.choice import SpaceChoice, SpaceChoiceConfig
from invertory.inversion.sam.objective import render_with_deltas
from invertory.inversion.sam.spaces import network_of
from invertory.networks.sam_encoder import SamEncoder

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _EncodedObjective(FeedForwardObjective):
    """The objective without steps; changes of features are rounded as the store rounds them.

    The row's input `choice` is the index of each pixel's space among the encoder's.
    """

    method: SamByEncoder
    view: View
    encoder: SamEncoder
    results: tuple[str, ...]

    def start(self, rows: Rows) -> Start:
        G, targets = self.view.generator, rows.targets
        w_plus, features = self.encoder.encode(G, targets, rows.inputs["choice"])
        is_finite = torch.isfinite(w_plus).all(2).all(1)[:, None, None]
        w_plus = torch.where(is_finite, w_plus, G.w_avg.to(w_plus))
        changes = {DELTA + b: d.float().nan_to_num(0, 0, 0) for b, d in features.deltas.items()}
        stored = {name: delta.float() for name, delta in dequantise(quantise(changes)).items()}
        encoded = {"w_plus": w_plus.float(), **stored}
        return Start({}, self.view.constants(targets) | encoded)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        deltas = {n.removeprefix(DELTA): d for n, d in constants.items() if n.startswith(DELTA)}
        synth = render_with_deltas(self.view, constants["w_plus"], deltas)
        return self.view.compare(synth, constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamByEncoder(SpaceChoiceConfig, FeedForwardConfig):
    """Choose a space for each segment, then encode in one pass. Seeds have no effect."""

    space: ClassVar[Space] = "w_plus"

    preset: Literal["paper", "code"] = field(
        default="code",
        metadata={"description": "what an edit keeps inside masks; paper: skip connections too"},
    )
    sam_encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoders; auto: those for this generator"},
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoders, and the networks that the choice needs."""
        return ("sam_encoder", *self.choosers)

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
        segmentation: Tensor | None = None,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => w_plus, features, maps; see `Method`.

        `segmentation` [N, H, H], an index for each pixel, replaces the parser's segments.
        """
        view = View.of(generator, perceptual, targets, preview=False, max_px=self.loss_px)
        encoder = _network(networks, generator)
        spaces = self._spaces(generator, encoder.spaces)
        choice = self.choose(view, targets, spaces, networks, segmentation)
        own = _renumber(choice, spaces, encoder.spaces)
        masks = masks_of(generator, own.index.cpu(), encoder.spaces)
        if self.precision == "bfloat16":
            channels_last(generator, perceptual, encoder)
        objective = _EncodedObjective(
            self, view, encoder, ("w_plus", *(DELTA + block for block in masks))
        )
        outcome = Engine(steps=0, precision=self.precision).run(
            objective,
            targets,
            seeds=seeds,
            batch_size=batch_size,
            inputs={"choice": own.at(targets.shape[-1])},
            is_valid=choice.is_known,
        )
        deltas = {block: outcome.results[DELTA + block] for block in masks}
        return replace(
            outcome.inversion(self.space, outcome.results["w_plus"]),
            state=Features(deltas, masks).stored() if masks else {},
            maps=choice.maps(self),
            refused=choice.refused(),
        )

    def resolve_spaces(
        self, generator: Generator, configs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, ...]:
        """Return the spaces, the most editable first, for a generator and the networks' configs."""
        shapes = configs.get("sam_encoder", {}).get("shapes")
        if shapes is None:
            return resolve_spaces(generator, self.spaces)
        return self._spaces(generator, (W_PLUS, *shapes))

    def _spaces(self, generator: Generator, known: Sequence[str]) -> tuple[str, ...]:
        """Return the requested spaces among the encoder's, `known`.

        By default these are the generator's usual spaces that the encoder knows.
        """
        requested = self.spaces or [name for name in default_spaces(generator) if name in known]
        unknown = [name for name in requested if name not in known]
        if unknown or len(set(requested)) < len(requested):
            raise ValueError(
                f"expected spaces among {', '.join(known)}, each once, got "
                f"{', '.join(unknown or requested)}: the encoders were trained for no others"
            )
        return tuple(name for name in known if name in requested)


def _network(networks: Mapping[str, nn.Module], generator: Generator) -> SamEncoder:
    """Return the network `sam_encoder`, after checking its type and that it fits the generator."""
    encoder = network_of(networks, "sam_encoder", "use the method sam, which needs none")
    if not isinstance(encoder, SamEncoder):
        raise ValueError(
            f"expected a SamEncoder as sam_encoder, got a {type(encoder).__name__}: train one with "
            "the trainer sam_encoder"
        )
    return encoder.check_fits(generator)


def _renumber(choice: SpaceChoice, spaces: Sequence[str], known: Sequence[str]) -> SpaceChoice:
    """Convert a choice among `spaces` to one among `known`."""
    table = torch.tensor([known.index(name) for name in spaces], device=choice.index.device)
    return replace(choice, index=table[choice.index], num_spaces=len(known))
