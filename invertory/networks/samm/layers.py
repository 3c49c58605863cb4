"""The layers of SAMM (see samm.py for the paper), and what it does with flows and masks.

Coordinates: an image reaches from -1 to 1 along either axis, whatever its size; a flow of (0.1, 0)
fetches what lies a twentieth of the width to the right. Masks: 1 is out of the generator's domain.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, leaky_relu, pad

from invertory.generators.stylegan2_layers import Pass, SynthesisLayer

MAX_FLOW: Final = 0.08  # of an entry, and of the sum over cycles
SLOPE: Final = 0.2
Preset = Literal["paper", "code"]


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """x [N, C, H, W] looked up at each place moved by flow [N, 2, H, W] (right, down).

    Places are the pixels' centres, so that a flow of 0 gives x, to the bit where sizes are powers
    of two; beyond the edge lies the edge's own value.
    """
    height, width = x.shape[2:]
    places = [(2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in (width, height)]
    right, down = torch.meshgrid(*places, indexing="xy")
    grid = torch.stack([right, down], 2) + flow.float().permute(0, 2, 3, 1)
    # "border": zeros would bleed in where a flow points outwards
    moved = grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    return moved.to(x.dtype)


def compose(old: Tensor, new: Tensor) -> Tensor:
    """Algorithm 2: old (new - old + 1); of two masks in [0, 1], where both agree."""
    return (old * (new - old + 1)).clamp(0, 1)


def enlarge(mask: Tensor, size_px: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """mask [N, 1, h, w] => [N, 1, size_px, size_px], in [0, 1]."""
    if mask.shape[-1] == size_px:
        return mask
    return interpolate(mask, size=(size_px, size_px), mode=mode).clamp(0, 1)


def gather(masks: tuple[Tensor, ...], size_px: int) -> Tensor:
    """Algorithm 2: the levels' masks, coarse to fine => one mask [N, 1, size_px, size_px]."""
    first, *finer = (enlarge(mask, size_px, "bilinear") for mask in masks)
    for mask in finer:
        first = compose(first, mask)
    return first


def blend(images: Tensor, synth: Tensor, mask: Tensor) -> Tensor:
    """Eq. 2 to 4: images, synth [N, 3, H, W], mask [N, 1, H, W] in [0, 1] => [N, 3, H, W].

    Where the mask is 1 it is the input, where it is 0 the generator's image, each to the bit.
    """
    if images.shape != synth.shape or mask.shape != synth[:, :1].shape:
        raise ValueError(
            f"expected images like the generator's {list(synth.shape)} and a mask of their size, "
            f"got {list(images.shape)} and {list(mask.shape)}: resize them first"
        )
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("expected a mask from 0 (in-domain) to 1, got other values: scale it")
    return torch.lerp(synth, images, mask)


class _Standardised(torch.autograd.Function):
    """By hand, since what autograd makes of the formula costs more than the convolutions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mean, square = _mean(x), _mean(x * x)
        scale = torch.rsqrt((square - mean.square()).clamp_min(0) + 1e-5)
        y = torch.addcmul((-mean * scale).to(x.dtype), x, scale.to(x.dtype))
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (y, scale), slope = ctx.saved_tensors, slopes[0]
        common, along = _mean(slope), _mean(slope * y)
        gradient = torch.addcmul(slope - common.to(y.dtype), y, along.to(y.dtype), value=-1)
        out: Tensor = gradient * scale.to(y.dtype)
        return out


def _mean(x: Tensor) -> Tensor:
    """[N, C, H, W] => [N, C, 1, 1], float32."""
    return x.mean((2, 3), keepdim=True, dtype=torch.float32)


def standardised(x: Tensor) -> Tensor:
    """Each channel of each row to mean 0 and deviation 1: instance normalisation."""
    out: Tensor = _Standardised.apply(x)
    return out


class Bottleneck(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, inputs, H, W] => [N, outputs, H, W].

    The shortcut is never normalised: how far two maps differ must reach the mask, or an image that
    fits everywhere would look like one that fits nowhere.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, *, is_normalised: bool) -> None:
        super().__init__()
        self.is_normalised = is_normalised
        self.conv0 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv1 = nn.Conv2d(hidden, outputs, 3, padding=1)
        same = inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(leaky_relu(self._norm(self.conv0(x)), SLOPE))
        return leaky_relu(self._norm(y) + self.skip(x), SLOPE)

    def _norm(self, x: Tensor) -> Tensor:
        return standardised(x) if self.is_normalised else x


class AlignNet(nn.Module):
    """What moves, and what cannot be reached by moving: of two maps [N, C, r, r]."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.first = Bottleneck(2 * channels, hidden, hidden, is_normalised=True)
        self.second = Bottleneck(hidden, hidden, hidden, is_normalised=True)
        self.head = nn.Conv2d(hidden, 3, 3, padding=1, bias=False)
        nn.init.normal_(self.head.weight, std=0.1 / (9 * hidden) ** 0.5)  # begins without a flow
        # and with a mask of about 0.1 everywhere, near the area that it may have
        self.shift = nn.Parameter(torch.tensor([0.0, 0.0, -2.0]))

    def forward(self, current: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The generator's map and the encoder's, standardised => flow [N, 2, r, r] within
        +-`MAX_FLOW`, mask [N, 1, r, r] in [0, 1]; float32.
        """
        both = torch.cat([standardised(current) - target, target], 1)
        output = self.head(self.second(self.first(both))).float() + self.shift[:, None, None]
        output = pad(output, (1, 1, 1, 1), "replicate")
        for _ in range(2):  # [1, 1] twice is [1, 2, 1]
            output = avg_pool2d(output, 2, 1)
        return MAX_FLOW * torch.tanh(output[:, :2]), torch.sigmoid(output[:, 2:])


class Level(nn.Module):
    """SAMM at one size: the encoder's map is brought to the generator's, and the two are aligned.

    `narrowing`: channels within the bottlenecks are those of the generator over this.
    """

    def __init__(
        self, size_px: int, fan: tuple[int, int], w_dim: int, *, preset: Preset, narrowing: int
    ) -> None:
        super().__init__()
        inputs, channels = fan
        hidden = max(channels // narrowing, 1)
        self.size_px, self.preset = size_px, preset
        self.mapped = nn.Conv2d(inputs, channels, 1)
        pair = (Bottleneck(channels, channels, hidden, is_normalised=False) for _ in range(2))
        self.refined = nn.Sequential(*pair)
        self.styled = SynthesisLayer(
            "styled", (channels, channels), w_dim, size_px, up=False, clamp=None
        )
        nn.init.normal_(self.styled.weight)
        nn.init.normal_(self.styled.affine.weight)
        self.align = AlignNet(channels, hidden)

    @torch.no_grad()
    def set_initial_area(self, area: float) -> None:
        """Masks of an untrained one that are about `area` everywhere; never all or nothing."""
        share = torch.tensor(min(max(area, 0.02), 0.98))
        self.align.shift[2] = torch.logit(share)

    def target_features(self, tap: Tensor, w: Tensor) -> Tensor:
        """The encoder's map as the generator's features are to be, [N, C, r, r], standardised."""
        return standardised(self.styled(self.refined(self.mapped(tap)), w, Pass("none")))

    def forward(
        self,
        g: Tensor,
        w: Tensor,
        tap: Tensor,
        coarser: Tensor | None,
        *,
        cycles: int,
        is_warping: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Algorithm 1: g [N, C, r, r], w [N, w_dim], the encoder's map, the mask of the level
        before => g warped, mask [N, 1, r, r], flow [N, 2, r, r], and the steps that it is the sum
        of [cycles, N, 2, r, r].
        """
        f = self.target_features(tap, w)
        current, (flow, mask) = g, self.align(g, f)
        steps = [flow]
        for cycle in range(1, cycles + 1):
            if cycle > 1:
                step, new_mask = self.align(current, f)
                steps.append(step)
                flow = (flow + step).clamp(-MAX_FLOW, MAX_FLOW)  # line 4
                # as printed, line 6 leaves the mask of the first cycle
                mask = compose(mask, new_mask) if self.preset == "code" else mask
            if cycle == cycles and coarser is not None:
                mask = compose(enlarge(coarser, self.size_px, "bicubic"), mask)
            if is_warping:  # line 8: always of g, never of what was warped before
                current = torch.lerp(g, warp(g, flow), mask.to(g.dtype))
        return current, mask, flow, torch.stack(steps)
