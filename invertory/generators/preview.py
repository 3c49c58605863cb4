"""A small image from a feature map of MobileStyleGAN, through the generator's own later layers.

MobileStyleGAN has one RGB output, at the very end, and nearly all of its cost lies above 128 px.
The mean of an inverse Haar transform over 2 x 2 px is half its low band. A head therefore runs the
later blocks at the resolution of the feature, on low bands alone: upsampling becomes "keep the
first quarter of the channels and halve", and a depthwise 3x3 convolution becomes the sum of its
kernel. The lost detail bands, which pass through leaky ReLUs, are compensated on average by a few
hundred trained numbers: a gain per input and a bias per output of each convolution. All other
weights are the generator's, and every row of w_plus keeps its meaning.
`invertory/training/preview_head.py` fits the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu_

from invertory.generators.mobile_layers import first_channels

if TYPE_CHECKING:
    from invertory.generators.mobile_layers import Block, Modulation, StyledConv


class HaarSynthesis(Protocol):
    """The layers of a MobileStyleGAN that a head runs on low bands."""

    channels: tuple[int, ...]
    to_img_modulation: Modulation
    to_img: nn.Conv2d

    def blocks_above(self, resolution: int) -> list[tuple[int, Block]]:
        """The blocks after the feature of `resolution` px, with their indices."""
        ...

    def get_parameter(self, target: str) -> nn.Parameter: ...


class PreviewHead(nn.Module):
    """Gains and biases of the convolutions above `resolution`; the output's come last."""

    def __init__(self, *, resolution: int, widths: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.resolution = resolution
        self.gains = nn.ParameterList(torch.ones(inputs) for inputs, _ in widths)
        self.biases = nn.ParameterList(torch.zeros(outputs) for _, outputs in widths)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        pairs = zip(self.gains, self.biases, strict=True)
        widths = [[gain.numel(), bias.numel()] for gain, bias in pairs]
        return {"resolution": self.resolution, "widths": widths}

    def forward(self, x: Tensor, w_plus: Tensor, generator: HaarSynthesis) -> Tensor:
        """feature [N, C, px, px], w_plus [N, num_ws, w_dim] => [N, 3, px, px], about [-1, 1]."""
        for k, (i, block) in enumerate(generator.blocks_above(self.resolution)):
            w = w_plus[:, 3 * i + 1 : 3 * i + 4]
            width = x.shape[1] // 4
            x = first_channels(x, width) * (block.scale(w)[:, :width] * 0.5)
            x = self._convolve(2 * k, block.conv1, x)
            x = self._convolve(2 * k + 1, block.conv2, x * block.conv2.modulation(w[:, 2]))
        x = x * generator.to_img_modulation(w_plus[:, -1])
        weight = generator.to_img.weight[:3] * self.gains[-1][:, None, None]
        return conv2d(x, weight, self.biases[-1]) * 0.5

    def _convolve(self, k: int, conv: StyledConv, x: Tensor) -> Tensor:
        per_input = conv.depthwise.sum((1, 2, 3)) * self.gains[k]
        return leaky_relu_(conv2d(x, conv.weight * per_input[:, None, None], self.biases[k]), 0.2)


def head_widths(generator: HaarSynthesis, resolution: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of the convolutions above `resolution`; the output's come last."""
    weights = [conv.weight for conv in _convolutions(generator, resolution)]
    return [(w.shape[1], w.shape[0]) for w in weights] + [(generator.channels[-1], 3)]


def untrained_head(generator: HaarSynthesis, resolution: int) -> PreviewHead:
    """Build a head with gains of 1 and the generator's biases plus the mean of its noise."""
    head = PreviewHead(resolution=resolution, widths=head_widths(generator, resolution))
    convs = _convolutions(generator, resolution)
    biases = [conv.bias + conv.noise.mean() for conv in convs]
    last = generator.get_parameter("to_img.bias")[:3]
    with torch.no_grad():
        for own, bias in zip(head.biases, [*biases, last], strict=True):
            own.copy_(bias)
    return head


def heads_from(tensors: Mapping[str, Tensor]) -> list[PreviewHead]:
    """Build heads from tensors named <px>.gains.<k> and <px>.biases.<k> by `head_tensors`."""
    heads = []
    for px in sorted({int(name.split(".")[0]) for name in tensors}):
        own = {n.removeprefix(f"{px}."): t for n, t in tensors.items() if n.startswith(f"{px}.")}
        widths = [
            (own[f"gains.{k}"].numel(), own[f"biases.{k}"].numel()) for k in range(len(own) // 2)
        ]
        head = PreviewHead(resolution=px, widths=widths)
        head.load_state_dict(own)
        heads.append(head)
    return heads


def head_tensors(heads: Sequence[PreviewHead]) -> dict[str, Tensor]:
    """Merge the tensors of several heads into one mapping; the inverse of `heads_from`."""
    return {f"{h.resolution}.{name}": t for h in heads for name, t in h.state_dict().items()}


def _convolutions(generator: HaarSynthesis, resolution: int) -> list[StyledConv]:
    blocks = [block for _, block in generator.blocks_above(resolution)]
    return [conv for block in blocks for conv in (block.conv1, block.conv2)]
