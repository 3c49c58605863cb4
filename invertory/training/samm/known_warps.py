"""An initial phase for SAMM's flows: features are warped by known flows and must be warped back.

This phase is our own and no part of Yang, Xu and Chen 2023 (see trainer.py), who train from random
weights for hundreds of thousands of steps. With a few thousand images, the blended image alone
teaches flows that depend on the input only: each cycle repeats the first. Here the target is a
synthesised image, whose features match exactly until they are warped, so the flow can only be
inferred by comparing the two. The encoder's map is trained to equal the generator's features,
because alignment looks at their difference. No labels of real images are used.

After this phase a share of each batch continues it: without it, tens of steps of the image losses
undo what was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.stylegan2_layers import Hooks
from invertory.networks.samm.layers import MAX_FLOW, Level, standardised, warp
from invertory.networks.samm.network import synthesise_at

if TYPE_CHECKING:
    from invertory.encoders.residual import ResidualEncoder
    from invertory.networks.samm.network import HookedGenerator, Samm

KNOTS: Final = 4  # control points of a known flow per side
CYCLES: Final = 2
KNOWN_WEIGHT: Final = 20.0  # weight of the flow error, initially about 0.05, relative to the fit


def known_flow(num: int, size_px: int, rng: torch.Generator) -> Tensor:
    """[num, 2, size_px, size_px], smooth, with amplitudes that vary by row, up to the limit."""
    shape = (num, 2, KNOTS, KNOTS)
    knots = 2 * torch.rand(shape, generator=rng, device=rng.device) - 1
    sizes = torch.rand((num, 1, 1, 1), generator=rng, device=rng.device)
    size = (size_px, size_px)
    flow = interpolate(MAX_FLOW * sizes * knots, size=size, mode="bilinear", align_corners=True)
    return flow.clamp(-MAX_FLOW, MAX_FLOW)


def inverse_flow(flow: Tensor, num: int = 4) -> Tensor:
    """The inverse flow [N, 2, r, r]: warp(warp(x, flow), inverse_flow(flow)) is about x.

    Fixed-point iteration of b(p) = -flow(p + b(p)).
    """
    back = -flow
    for _ in range(num):  # back(p) = -flow(p + back(p))
        back = -warp(flow, back)
    return back.clamp(-MAX_FLOW, MAX_FLOW)


@torch.no_grad()
def record_features(
    samm: Samm, generator: HookedGenerator, encoder: ResidualEncoder, w_plus: Tensor, size_px: int
) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """w_plus [N, num_ws, w_dim] => per size of a level: features, styles and encoder map.

    Features are [N, C, r, r], styles [N, w_dim]; the map is the encoder's map of the synthesised
    image.
    """
    recorded: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(px: int, g: Tensor, w: Tensor) -> Tensor:
        recorded[px] = (g, w)
        return g

    hooks = Hooks(after_conv={f"b{px}.conv0": partial(keep, px) for px in samm.sizes_px})
    taps = encoder.tapped(synthesise_at(generator, w_plus, size_px, hooks).clamp(-1, 1))[1]
    return {px: (*both, taps[px]) for px, both in recorded.items()}


def known_warp_losses(
    samm: Samm, recorded: Mapping[int, tuple[Tensor, Tensor, Tensor]], rng: torch.Generator
) -> dict[str, Tensor]:
    """Means over levels: the fit of the encoder's map, and the error of each cycle's flow.

    The fit is the squared distance of standardised maps; the flow error is squared, in units of the
    limit.
    """
    levels = zip(samm.sizes_px, samm.levels, strict=True)
    losses = [_losses(cast("Level", level), recorded[px], rng) for px, level in levels]
    fits, errors = zip(*losses, strict=True)
    return {"fit": torch.stack(fits).mean(), "known_warp": torch.stack(errors).mean()}


def weighted_sum(losses: Mapping[str, Tensor]) -> Tensor:
    """The weighted sum of both losses."""
    return losses["fit"] + KNOWN_WEIGHT * losses["known_warp"]


def _losses(
    level: Level, recorded: tuple[Tensor, Tensor, Tensor], rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Both losses of one level; flows add up as in algorithm 1, with a mask of 1 everywhere.

    Half of the rows are compared with the features themselves, since the encoder's map is
    uninformative at first.
    """
    g, w, tap = recorded
    flow_known, mapped, features = (
        known_flow(len(g), g.shape[-1], rng),
        level.target_features(tap, w),
        standardised(g),
    )
    half = len(g) // 2
    f = torch.cat([mapped[:half], features[half:].to(mapped.dtype)])
    flow, start = torch.zeros_like(flow_known), warp(g, flow_known)
    back, current, errors = inverse_flow(flow_known), start, []
    for _ in range(CYCLES):
        flow = (flow + level.align(current, f)[0]).clamp(-MAX_FLOW, MAX_FLOW)
        errors.append(((flow - back) / MAX_FLOW).square().mean())
        current = warp(start, flow.detach())
    return (mapped.float() - features.float()).square().mean(), torch.stack(errors).mean()
