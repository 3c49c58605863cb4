"""What every method with an encoder shares: checking that the encoder fits, and its one pass.

A feed-forward method is a frozen dataclass that extends `FeedForward`, or `SinglePassMethod` if its
network has a kind of its own. The engine runs it with zero steps, so batches, memory and invalid
rows are handled as in every other method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch

from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Rows, Start, Tensors, ZeroStepObjective
from invertory.inversion.engine.view import View, channels_last
from invertory.inversion.method import NO_NETWORKS
from invertory.precision import Precision

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.encoders import Encoder
    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


def encoder_of(
    networks: Mapping[str, nn.Module], generator: Generator, kind: str = "encoder"
) -> Encoder:
    """Return the network of `kind`, after checking that its latents fit the generator.

    Raises `ValueError` if the network is missing or its num_ws or w_dim differ from the
    generator's.
    """
    if kind not in networks:
        raise ValueError(
            f"expected a network {kind!r}, got {sorted(networks) or 'none'}: pass "
            f"networks={{{kind!r}: ...}}, trained for this generator"
        )
    encoder = cast("Encoder", networks[kind])
    is_fitting = encoder.w_dim == generator.w_dim and encoder.num_ws in (1, generator.num_ws)
    if not is_fitting:
        raise ValueError(
            f"expected an encoder into the generator's latents, [{generator.num_ws}, "
            f"{generator.w_dim}], got one into [{encoder.num_ws}, {encoder.w_dim}]: name an "
            "encoder trained for this generator"
        )
    return encoder


def encode_w_plus(encoder: Encoder, images: Tensor, generator: Generator) -> Tensor:
    """images [N, 3, H, H] => w_plus [N, num_ws, w_dim]; the mean w where the code is not finite."""
    return expand_finite(encoder(images), generator)


def expand_finite(latents: Tensor, generator: Generator) -> Tensor:
    """latents [N, 1 or num_ws, w_dim] => w_plus [N, num_ws, w_dim]; the mean w where not finite."""
    w_plus = latents.expand(-1, generator.num_ws, -1)
    is_finite = torch.isfinite(w_plus).all(2).all(1)[:, None, None]
    return torch.where(is_finite, w_plus, generator.w_avg.to(w_plus))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForwardConfig:
    """Settings of one-pass methods: the loss is measured and optimises nothing."""

    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "feed_forward"

    mse_weight: float = field(
        default=1.0,
        metadata={"description": "weight of the mean square on [-1, 1] in the reported loss"},
    )
    perceptual_weight: float = field(
        default=1.0,
        metadata={"description": "weight of the perceptual distance in the reported loss"},
    )
    loss_px: int = field(
        default=256,
        metadata={"description": "largest side in pixels at which the loss is computed"},
    )
    precision: Precision = field(
        default="float32",
        metadata={"description": "bfloat16: networks under autocast; unset: the recipe's"},
    )


class FeedForwardObjective(ZeroStepObjective):
    """The objective of a one-pass method; its loss has the method's weights."""

    __slots__ = ()
    method: FeedForwardConfig

    @property
    def weights(self) -> Mapping[str, float]:
        return {"mse": self.method.mse_weight, "perceptual": self.method.perceptual_weight}


@dataclass(frozen=True, slots=True)
class _EncodedObjective(FeedForwardObjective):
    """The objective without steps: the code, and the losses of its image."""

    method: SinglePassMethod
    view: View
    encoder: Encoder
    results: tuple[str, ...]  # with "synth", the image is returned and need not be drawn again

    def start(self, rows: Rows) -> Start:
        w_plus = encode_w_plus(self.encoder, rows.targets, self.view.generator)
        synth = self.view.render(w_plus).clamp(-1, 1)
        encoded = {"w_plus": w_plus.float(), "synth": synth.float()}
        return Start({}, self.view.constants(rows.targets) | encoded)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        return self.view.compare(constants["synth"], constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinglePassMethod(FeedForwardConfig):
    """One pass of the network in `needs`; the losses are measured and optimise nothing."""

    space: ClassVar[Space] = "w_plus"

    preview: bool = field(
        default=False, metadata={"description": "measure the preview instead of the full image"}
    )

    @property
    def needs(self) -> tuple[str, ...]:
        """The single kind of network."""
        raise NotImplementedError

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
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`."""
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)
        encoder = encoder_of(networks, generator, self.needs[0])
        if self.precision == "bfloat16":
            channels_last(generator, perceptual, encoder)
        is_whole = not self.preview and view.size_px == generator.resolution == targets.shape[-1]
        results = ("w_plus", "synth") if is_whole else ("w_plus",)
        engine = Engine(steps=0, precision=self.precision)
        objective = _EncodedObjective(self, view, encoder, results)
        outcome = engine.run(objective, targets, seeds=seeds, batch_size=batch_size)
        inversion = outcome.inversion(self.space, outcome.results["w_plus"])
        return replace(inversion, synths=outcome.results.get("synth"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward(SinglePassMethod):
    """One pass of an encoder."""

    needs: ClassVar[tuple[str, ...]] = ("encoder",)

    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
