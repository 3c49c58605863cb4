"""Layers of SAMM (see network.py for the paper), and operations on flows and masks.

Coordinates: an image spans -1 to 1 along both axes, whatever its size; a flow of (0.1, 0) samples a
position one twentieth of the width to the right. Masks: 1 is out of the generator's domain.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, leaky_relu, pad

from invertory.generators.stylegan2_layers import SynthesisLayer, SynthesisPass

MAX_FLOW: Final = 0.08  # limit of each entry, and of the sum over cycles
SLOPE: Final = 0.2
Preset = Literal["paper", "code"]


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample x [N, C, H, W] at positions displaced by flow [N, 2, H, W] (right, down).

    Positions are pixel centres, so a zero flow returns x (exactly, if sizes are powers of two);
    positions beyond the edge take the edge's value.
    """
    height, width = x.shape[2:]
    places = [(2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in (width, height)]
    right, down = torch.meshgrid(*places, indexing="xy")
    grid = torch.stack([right, down], 2) + flow.float().permute(0, 2, 3, 1)
    # "border": zero padding would bleed in where a flow points outwards
    moved = grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    return moved.to(x.dtype)


def compose(old: Tensor, new: Tensor) -> Tensor:
    """Algorithm 2: old (new - old + 1) for masks in [0, 1]; high where both are."""
    return (old * (new - old + 1)).clamp(0, 1)


def enlarge(mask: Tensor, size_px: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Mask [N, 1, h, w] => [N, 1, size_px, size_px], in [0, 1]."""
    if mask.shape[-1] == size_px:
        return mask
    return interpolate(mask, size=(size_px, size_px), mode=mode).clamp(0, 1)


def gather(masks: tuple[Tensor, ...], size_px: int) -> Tensor:
    """Algorithm 2: masks of the levels, coarse to fine => one mask [N, 1, size_px, size_px]."""
    first, *finer = (enlarge(mask, size_px, "bilinear") for mask in masks)
    for mask in finer:
        first = compose(first, mask)
    return first


def blend(images: Tensor, synth: Tensor, mask: Tensor) -> Tensor:
    """Eq. 2 to 4, mask * image + (1 - mask) * synth => [N, 3, H, W].

    Images and synth are [N, 3, H, W], the mask is [N, 1, H, W] in [0, 1]. Pixels with mask 1 equal
    the input and pixels with mask 0 equal the synth, exactly. Raises ValueError for other shapes or
    mask values.
    """
    if images.shape != synth.shape or mask.shape != synth[:, :1].shape:
        raise ValueError(
            f"expected images of the shape of synth {list(synth.shape)} and a mask of their size, "
            f"got {list(images.shape)} and {list(mask.shape)}: resize them first"
        )
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("expected a mask from 0 (in-domain) to 1, got values outside: scale it")
    return torch.lerp(synth, images, mask)


class _Standardised(torch.autograd.Function):
    """Manual backward pass: autograd of the formula is slower than the convolutions."""

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
    """Instance normalisation: each channel of each row to mean 0 and deviation 1."""
    out: Tensor = _Standardised.apply(x)
    return out


class Bottleneck(nn.Module):
    """Two 3x3 convolutions with a shortcut: [N, inputs, H, W] => [N, outputs, H, W].

    The shortcut is never normalised: the magnitude of the difference of two maps must reach the
    mask, or an image that matches everywhere would look like one that matches nowhere.
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
    """Predicts a flow, and a mask of what no flow can align, from two maps [N, C, r, r]."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.first = Bottleneck(2 * channels, hidden, hidden, is_normalised=True)
        self.second = Bottleneck(hidden, hidden, hidden, is_normalised=True)
        self.head = nn.Conv2d(hidden, 3, 3, padding=1, bias=False)
        nn.init.normal_(self.head.weight, std=0.1 / (9 * hidden) ** 0.5)  # initially no flow
        # and a mask of about 0.1 everywhere, near its area limit
        self.shift = nn.Parameter(torch.tensor([0.0, 0.0, -2.0]))

    def forward(self, current: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The generator's map and the encoder's standardised map => flow and mask, float32.

        The flow is [N, 2, r, r] within +-`MAX_FLOW`, the mask [N, 1, r, r] in [0, 1].
        """
        both = torch.cat([standardised(current) - target, target], 1)
        output = self.head(self.second(self.first(both))).float() + self.shift[:, None, None]
        output = pad(output, (1, 1, 1, 1), "replicate")
        for _ in range(2):  # [1, 1] applied twice is [1, 2, 1]
            output = avg_pool2d(output, 2, 1)
        return MAX_FLOW * torch.tanh(output[:, :2]), torch.sigmoid(output[:, 2:])


class Level(nn.Module):
    """SAMM at one size: the encoder's map is converted to generator features and aligned.

    Bottlenecks have the generator's channels divided by `narrowing`.
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
        """Initialise the masks of an untrained level to about `area`, within 0.02 to 0.98."""
        share = torch.tensor(min(max(area, 0.02), 0.98))
        self.align.shift[2] = torch.logit(share)

    def target_features(self, tap: Tensor, w: Tensor) -> Tensor:
        """The encoder's map as generator features, [N, C, r, r], standardised."""
        return standardised(self.styled(self.refined(self.mapped(tap)), w, SynthesisPass("none")))

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
        """Algorithm 1 => g warped, mask [N, 1, r, r], flow [N, 2, r, r] and its steps.

        Inputs are g [N, C, r, r], w [N, w_dim], the encoder's map, and the mask of the coarser
        level. The steps [cycles, N, 2, r, r] add up to the flow.
        """
        f = self.target_features(tap, w)
        current, (flow, mask) = g, self.align(g, f)
        steps = [flow]
        for cycle in range(1, cycles + 1):
            if cycle > 1:
                step, new_mask = self.align(current, f)
                steps.append(step)
                flow = (flow + step).clamp(-MAX_FLOW, MAX_FLOW)  # line 4
                # line 6 as printed keeps the mask of the first cycle
                mask = compose(mask, new_mask) if self.preset == "code" else mask
            if cycle == cycles and coarser is not None:
                mask = compose(enlarge(coarser, self.size_px, "bicubic"), mask)
            if is_warping:  # line 8: always warp g itself, never a warped g
                current = torch.lerp(g, warp(g, flow), mask.to(g.dtype))
        return current, mask, flow, torch.stack(steps)
