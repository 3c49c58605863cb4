"""SAM by encoders: W+ and features of a picture in one pass.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.3. A space is chosen for each segment as in sam.py; then
encoders that see the picture and its map of spaces say w_plus and the changes of features, where
that method optimises them. They were never released: `invertory/networks/sam_encoder.py` says what
is printed, and `invertory/training/sam/encoder.py` trains them. Masks, state and editing are
sam.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from invertory.generators.deltas import coded, decoded
from invertory.generators.f_space import (
    DELTA,
    W_PLUS,
    Features,
    checked_spaces,
    default_spaces,
    masks_of,
)
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View, channels_last
from invertory.inversion.feed_forward import Judging, Told
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.sam.choice import Choice, Choosing
from invertory.inversion.sam.objective import rendered
from invertory.inversion.sam.spaces import network_of
from invertory.networks.sam_encoder import SamEncoder

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _Encoded(Judging):
    """The objective without steps; changes of features are as the store gives them back.

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
        stored = {name: delta.float() for name, delta in decoded(coded(changes)).items()}
        found = {"w_plus": w_plus.float(), **stored}
        return Start({}, self.view.constants(targets) | found)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        deltas = {n.removeprefix(DELTA): d for n, d in constants.items() if n.startswith(DELTA)}
        synth = rendered(self.view, constants["w_plus"], deltas)
        return self.view.compare(synth, constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamByEncoder(Choosing, Told):
    """Choose a space for each segment; then one pass. Without draws."""

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
        """Beside the encoders, what the choice takes; nothing where there is none to make."""
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

        `segmentation` [N, H, H], an index for each pixel, takes the place of the parser's.
        """
        view = View.of(generator, perceptual, targets, preview=False, max_px=self.loss_px)
        encoder = _network(networks, generator)
        spaces = self._spaces(generator, encoder.spaces)
        found = self.chosen(view, targets, spaces, networks, segmentation)
        own = _renumbered(found, spaces, encoder.spaces)
        masks = masks_of(generator, own.index.cpu(), encoder.spaces)
        if self.precision == "bfloat16":
            channels_last(generator, perceptual, encoder)
        objective = _Encoded(self, view, encoder, ("w_plus", *(DELTA + block for block in masks)))
        outcome = Engine(steps=0, precision=self.precision).run(
            objective,
            targets,
            seeds=seeds,
            batch_size=batch_size,
            inputs={"choice": own.at(targets.shape[-1])},
            is_valid=found.is_known,
        )
        deltas = {block: outcome.results[DELTA + block] for block in masks}
        return replace(
            outcome.inversion(self.space, outcome.results["w_plus"]),
            state=Features(deltas, masks).stored() if masks else {},
            maps=found.maps(self),
            refused=found.refused(),
        )

    def wanted(
        self, generator: Generator, told: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, ...]:
        """The spaces, the most editable first, of a generator and of networks as they are told."""
        shapes = told.get("sam_encoder", {}).get("shapes")
        if shapes is None:
            return checked_spaces(generator, self.spaces)
        return self._spaces(generator, (W_PLUS, *shapes))

    def _spaces(self, generator: Generator, known: Sequence[str]) -> tuple[str, ...]:
        """Those wanted among the encoder's, `known`; none named: the usual ones that it encodes."""
        wanted = self.spaces or [name for name in default_spaces(generator) if name in known]
        unknown = [name for name in wanted if name not in known]
        if unknown or len(set(wanted)) < len(wanted):
            raise ValueError(
                f"expected spaces among {', '.join(known)}, each once, got "
                f"{', '.join(unknown or wanted)}: the encoders were trained for no others"
            )
        return tuple(name for name in known if name in wanted)


def _network(networks: Mapping[str, nn.Module], generator: Generator) -> SamEncoder:
    """The network `sam_encoder`, if it is one and fits the generator."""
    encoder = network_of(networks, "sam_encoder", "use the method sam, which has none")
    if not isinstance(encoder, SamEncoder):
        raise ValueError(
            f"expected a SamEncoder as sam_encoder, got a {type(encoder).__name__}: train one with "
            "the trainer sam_encoder"
        )
    return encoder.check_fits(generator)


def _renumbered(found: Choice, spaces: Sequence[str], known: Sequence[str]) -> Choice:
    """A choice among `spaces` as one among `known`."""
    table = torch.tensor([known.index(name) for name in spaces], device=found.index.device)
    return replace(found, index=table[found.index], num_spaces=len(known))
