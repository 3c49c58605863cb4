"""A small encoder based on In-Domain's: its residual blocks, with a much smaller last layer.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049.
Theirs ends in a matrix from the whole 4 px map to the code. Ours narrows the map first with a 1x1
convolution and two linear layers. It predicts offsets from the mean latent in units of the latents'
standard deviation, both stored as buffers, so an untrained network returns the mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.checkpoints.strict import load_strictly
from invertory.encoders.layers import SLOPE, Block, Stem, check_sizes, resize_to


class ResidualEncoder(CheckpointedNetwork):
    """x [N, 3, H, H] => w_plus [N, num_ws, w_dim]; see `Encoder`."""

    w_mean: Tensor  # [num_ws, w_dim]
    w_scale: Tensor  # [num_ws, w_dim]

    def __init__(
        self,
        *,
        resolution: int,
        num_ws: int,
        w_dim: int,
        channels: Sequence[int] = (),
        narrow: int = 32,
        hidden: int = 256,
        truncation: float = 1.0,
    ) -> None:
        """Build an encoder.

        `channels` are those at `resolution`, half of it, ... 4 px (empty: `usual_channels`);
        `narrow` is the width of the last map before the linear layers and `hidden` the width
        between them; `truncation` (psi) scales the offsets from the mean. Raises `ValueError` if
        the sizes do not fit.
        """
        super().__init__()
        check_sizes(resolution, num_ws, w_dim)
        channels = tuple(channels) or usual_channels(resolution)
        if len(channels) != resolution.bit_length() - 2:
            raise ValueError(
                f"expected {resolution.bit_length() - 2} channels for {resolution} px, one per "
                f"size down to 4 px, got {list(channels)}"
            )
        self.resolution, self.num_ws, self.w_dim = resolution, num_ws, w_dim
        self.channels, self.narrow, self.hidden = channels, narrow, hidden
        self.truncation = truncation
        self.stem = Stem(channels[0])
        pairs = itertools.pairwise(channels)
        self.blocks = nn.Sequential(*(Block(inputs, outputs) for inputs, outputs in pairs))
        self.narrowing = nn.Conv2d(channels[-1], narrow, 1)
        self.fc = nn.Linear(16 * narrow, hidden)
        self.code = nn.Linear(hidden, num_ws * w_dim)
        nn.init.zeros_(self.code.bias)
        nn.init.normal_(self.code.weight, std=0.1 / hidden**0.5)
        self.register_buffer("w_mean", torch.zeros(num_ws, w_dim))
        self.register_buffer("w_scale", torch.ones(num_ws, w_dim))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("resolution", "num_ws", "w_dim", "narrow", "hidden", "truncation")
        return {name: getattr(self, name) for name in names} | {"channels": list(self.channels)}

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, num_ws, w_dim], float32."""
        return self.tapped(x)[0]

    def tapped(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Run `forward` once => w_plus and the feature maps, size r in px => [N, C, r, r].

        There is one map per size from `resolution` down to 4 px, with the channels of
        `tap_channels`.
        """
        maps = [self.stem(resize_to(x, self.resolution))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        code = leaky_relu(self.narrowing(maps[-1]), SLOPE).flatten(1)
        offsets = self.code(leaky_relu(self.fc(code), SLOPE)).float()
        offsets = offsets.view(-1, self.num_ws, self.w_dim)
        w_plus = self.w_mean + self.truncation * self.w_scale * offsets
        return w_plus, {y.shape[-1]: y for y in maps}

    @property
    def tap_channels(self) -> dict[int, int]:
        """Size in px => channels of that map in `tapped`."""
        return {self.resolution >> i: channels for i, channels in enumerate(self.channels)}

    @torch.no_grad()
    def set_statistics(self, w_plus: Tensor) -> None:
        """Set mean and deviation to those of the latents [N, num_ws, w_dim] to predict."""
        self.w_mean.copy_(w_plus.float().mean(0))
        self.w_scale.copy_(w_plus.float().std(0).clamp_min(1e-6))

    @torch.no_grad()
    def widen(self, num_ws: int) -> ResidualEncoder:
        """Widen an encoder of one w to `num_ws` rows, each of which gets that w.

        Raises `ValueError` if the encoder has more than one row.
        """
        if self.num_ws != 1:
            raise ValueError(
                f"expected an encoder of one w to widen, got one of {self.num_ws} rows"
            )
        wide = type(self)(**self.config | {"num_ws": num_ws})
        tensors = self.state_dict()
        tensors["code.weight"] = tensors["code.weight"].repeat(num_ws, 1)
        tensors["code.bias"] = tensors["code.bias"].repeat(num_ws)
        for name in ("w_mean", "w_scale"):
            tensors[name] = tensors[name].expand(num_ws, -1)
        return load_strictly(wide, tensors).train(self.training)


def usual_channels(resolution: int) -> tuple[int, ...]:
    """Channels at `resolution`, half of it, ... 4 px: for 128 px, 32, 64, 128, 192, 256 and 256."""
    coarse_to_fine = (256, 256, 192, 128, 64, 32)
    num = resolution.bit_length() - 2
    return (*coarse_to_fine, *[16] * num)[:num][::-1]
