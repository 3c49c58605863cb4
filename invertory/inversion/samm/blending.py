"""The objective of SAMM: networks that fit each other, the stored input, and the blend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import torch
from torch.nn.functional import interpolate

from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View
from invertory.inversion.feed_forward import (
    FeedForwardConfig,
    FeedForwardObjective,
    encode_w_plus,
    encoder_of,
)
from invertory.inversion.restyle import refine
from invertory.networks.samm.network import HookedGenerator, Samm, TappedEncoder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.encoders import Encoder
    from invertory.encoders.pyramid import PyramidEncoder
    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.networks.samm.network import Aligned

TARGET: Final = "target"  # in the state: uint8 [N, 3, H, H], H at most the generator's
MASK: Final = "mask"
STORED: Final = "stored"  # in the results: `TARGET` as float32


@dataclass(frozen=True, slots=True)
class SammNetworks:
    """Networks that fit each other."""

    generator: HookedGenerator
    encoder: TappedEncoder
    samm: Samm

    @classmethod
    def of(cls, networks: Mapping[str, nn.Module], generator: Generator) -> SammNetworks:
        encoder = encoder_of(networks, generator)
        samm = networks.get("samm")
        if not isinstance(samm, Samm):
            got = "none" if samm is None else f"a {type(samm).__name__}"
            raise ValueError(
                f"expected a network 'samm', got {got}: train one with the trainer samm and pass "
                "networks={'samm': ...}"
            )
        tapped = cast("TappedEncoder", encoder)
        samm.check(tapped, generator)
        return cls(cast("HookedGenerator", generator), tapped, samm)


@dataclass(frozen=True, slots=True)
class BlendedObjective(FeedForwardObjective):
    """The objective without steps: latent, mask, and the losses of the blended image."""

    method: FeedForwardConfig
    view: View
    base: Encoder
    align: Callable[[Tensor, Tensor], Aligned]  # w_plus, images [N, 3, R, R]
    iterations: int  # passes of the base
    is_residual: bool  # the base is ReStyle's, which sees the image and the last synthesis
    results: tuple[str, ...]  # with "synth", the image is returned and need not be drawn again

    def start(self, rows: Rows) -> Start:
        stored = quantise_targets(rows.targets, self.view.generator.resolution)
        images = dequantise_targets(stored, self.view.generator.resolution)
        w_plus = self._latents(images)
        aligned = self.align(w_plus, images)
        mask = aligned.mask()
        # eq. 2 and 4: x_hat = m * x + (1 - m) * G(w_plus)
        synth = torch.lerp(aligned.synth.float(), images, mask).clamp(-1, 1)
        blended = {"w_plus": w_plus, MASK: mask.nan_to_num(0.0), STORED: stored, "synth": synth}
        blended = {name: tensor.float() for name, tensor in blended.items()}
        return Start({}, self.view.constants(rows.targets) | blended)

    def _latents(self, images: Tensor) -> Tensor:
        G, iterations = self.view.generator, self.iterations
        if self.is_residual:
            network = cast("PyramidEncoder", self.base)
            w_plus = G.w_avg.float().expand(len(images), G.num_ws, -1)
            steps = refine(
                lambda synth: network.residual(images, synth), G.synthesis, w_plus, iterations
            )
            return list(steps)[-1]
        first = encode_w_plus(self.base, images, G)
        w_plus = first
        for _ in range(iterations - 1):  # w <- w + E(x) - E(G(w))
            again = encode_w_plus(self.base, G.synthesis(w_plus), G)
            w_plus = w_plus + first - again
        return w_plus

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        synth = self.view.resize(constants["synth"])
        return self.view.compare(synth, constants)


def quantise_targets(targets: Tensor, resolution: int) -> Tensor:
    """targets [N, 3, H, H] => the stored values, 0 to 255, at most `resolution` px; float."""
    targets = reduce_to(targets, resolution)
    return ((targets.float().nan_to_num(0.0) + 1) * 127.5).round().clamp(0, 255)


def reduce_to(x: Tensor, most_px: int) -> Tensor:
    """Reduce x [N, C, H, H] to at most `most_px` pixels a side, by area means."""
    if x.shape[-1] <= most_px:
        return x
    return interpolate(x, size=(most_px, most_px), mode="area")


def dequantise_targets(stored: Tensor, resolution: int) -> Tensor:
    """Decode stored inputs => [N, 3, resolution, resolution] in [-1, 1]."""
    images = stored.float() / 127.5 - 1
    if images.shape[-1] == resolution:
        return images
    return interpolate(images, size=(resolution, resolution), mode="bilinear")


def stored_targets(state: State, w_plus: Tensor, parts: SammNetworks) -> Tensor:
    """Return the stored inputs of the state; raise ValueError if they are missing or do not fit."""
    n, most = len(w_plus), parts.generator.resolution
    target = state.get(TARGET)
    if (
        target is None
        or target.shape[:2] != (n, 3)
        or target.shape[2] != target.shape[3]
        or target.shape[-1] > most
    ):
        got = sorted(state) if target is None else list(target.shape)
        raise ValueError(
            f"expected a state {TARGET!r} [{n}, 3, H, H] of at most {most} px, got {got}: draw "
            "latents with the state of their inversion"
        )
    return target
