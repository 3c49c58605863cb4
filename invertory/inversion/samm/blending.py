"""The objective of SAMM's method (samm.py): networks that fit, the stored input, the blend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import torch
from torch.nn.functional import interpolate

from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View
from invertory.inversion.feed_forward import Judging, Told, encoded, encoder_of
from invertory.inversion.restyle import refined
from invertory.networks.samm.network import HookedGenerator, Samm, TappedEncoder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.encoders import Encoder
    from invertory.encoders.pyramid import PyramidEncoder
    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.networks.samm.network import Aligned

TARGET: Final = "target"  # of the state: uint8 [N, 3, H, H], H at most the generator's
MASK: Final = "mask"
STORED: Final = "stored"  # of the results: `TARGET`, in float32


@dataclass(frozen=True, slots=True)
class Parts:
    """Networks that were found to fit each other."""

    generator: HookedGenerator
    encoder: TappedEncoder
    samm: Samm

    @classmethod
    def of(cls, networks: Mapping[str, nn.Module], generator: Generator) -> Parts:
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
class Blended(Judging):
    """The objective of no steps: latent and mask, and how alike the blended picture is."""

    method: Told
    view: View
    base: Encoder
    align: Callable[[Tensor, Tensor], Aligned]  # w_plus, images [N, 3, R, R]
    iterations: int  # passes of the base
    is_residual: bool  # the base is ReStyle's: it is shown the image and the last synthesis
    results: tuple[str, ...]  # with "synth", the picture is handed out, and need not be drawn again

    def start(self, rows: Rows) -> Start:
        stored = kept(rows.targets, self.view.generator.resolution)
        pictures = shown(stored, self.view.generator.resolution)
        w_plus = self._latents(pictures)
        found = self.align(w_plus, pictures)
        mask = found.mask()
        synth = torch.lerp(found.synth.float(), pictures, mask).clamp(-1, 1)
        blended = {"w_plus": w_plus, MASK: mask.nan_to_num(0.0), STORED: stored, "synth": synth}
        blended = {name: tensor.float() for name, tensor in blended.items()}
        return Start({}, self.view.constants(rows.targets) | blended)

    def _latents(self, pictures: Tensor) -> Tensor:
        G, iterations = self.view.generator, self.iterations
        if self.is_residual:
            network = cast("PyramidEncoder", self.base)
            w_plus = G.w_avg.float().expand(len(pictures), G.num_ws, -1)
            steps = refined(
                lambda synth: network.residual(pictures, synth), G.synthesis, w_plus, iterations
            )
            return list(steps)[-1]
        first = encoded(self.base, pictures, G)
        w_plus = first
        for _ in range(iterations - 1):  # what the encoder tells apart is added
            again = encoded(self.base, G.synthesis(w_plus), G)
            w_plus = w_plus + first - again
        return w_plus

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        synth = self.view.resize(constants["synth"])
        return self.view.compare(synth, constants)


def kept(targets: Tensor, resolution: int) -> Tensor:
    """targets [N, 3, H, H] => what is stored of them: 0 to 255, at most `resolution` px; float."""
    targets = reduced(targets, resolution)
    return ((targets.float().nan_to_num(0.0) + 1) * 127.5).round().clamp(0, 255)


def reduced(x: Tensor, most_px: int) -> Tensor:
    """x [N, C, H, H] at `most_px` or less, by area means."""
    if x.shape[-1] <= most_px:
        return x
    return interpolate(x, size=(most_px, most_px), mode="area")


def shown(stored: Tensor, resolution: int) -> Tensor:
    """The stored inputs => [N, 3, resolution, resolution] in [-1, 1]."""
    pictures = stored.float() / 127.5 - 1
    if pictures.shape[-1] == resolution:
        return pictures
    return interpolate(pictures, size=(resolution, resolution), mode="bilinear")


def input_of(state: State, w_plus: Tensor, parts: Parts) -> Tensor:
    """The inputs within the state."""
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
            "latents with the state that their inversion gave"
        )
    return target
