"""In-Domain's encoder as published, with the names of its checkpoints.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049;
`StyleGANEncoderNet` of genforce/idinvert_pytorch (MIT). Its last layer reads the whole 4 px map: at
256 px with 1024 channels this layer has 117 M of the 137 M weights. `ResidualEncoder` is the small
variant.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.encoders.layers import Block, Stem, check_sizes, resize_to


class _Code(nn.Module):
    """The flattened map => the code, with a batch norm if the network has them."""

    def __init__(self, inputs: int, outputs: int, *, use_bn: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs, bias=False)
        nn.init.normal_(self.fc.weight)
        self.scale = 1 / math.sqrt(inputs)
        self.bn = nn.ModuleDict({"bn": nn.BatchNorm1d(outputs, eps=1e-5)} if use_bn else {})

    def forward(self, x: Tensor) -> Tensor:
        code = self.fc(x) * self.scale
        out: Tensor = self.bn["bn"](code) if "bn" in self.bn else code
        return out


class IdinvertEncoder(CheckpointedNetwork):
    """x [N, 3, H, H] => w_plus [N, num_ws, w_dim]; see `Encoder`. Defaults: the 256 px networks."""

    def __init__(
        self,
        *,
        resolution: int = 256,
        num_ws: int = 14,
        w_dim: int = 512,
        channels_base: int = 64,
        channels_max: int = 1024,
        use_bn: bool = True,
        use_wscale: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(resolution, num_ws, w_dim)
        self.resolution, self.num_ws, self.w_dim = resolution, num_ws, w_dim
        num_blocks = resolution.bit_length() - 3  # halved down to 4 px
        widths = [min(channels_base * 2**i, channels_max) for i in range(num_blocks + 1)]
        self._arguments = {
            "resolution": resolution,
            "num_ws": num_ws,
            "w_dim": w_dim,
            "channels_base": channels_base,
            "channels_max": channels_max,
            "use_bn": use_bn,
            "use_wscale": use_wscale,
        }
        self.add_module("block0", Stem(widths[0], use_bn=use_bn, equalised=use_wscale))
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1):
            block = Block(inputs, outputs, use_bn=use_bn, equalised=use_wscale)
            self.add_module(f"block{i}", block)
        code = _Code(widths[-1] * 16, num_ws * w_dim, use_bn=use_bn)
        self.add_module(f"block{num_blocks + 1}", code)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        return dict(self._arguments)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, num_ws, w_dim], float32."""
        x = resize_to(x, self.resolution)
        *convolutions, code = self.children()
        for block in convolutions:
            x = block(x)
        out: Tensor = code(x.flatten(1)).float().view(-1, self.num_ws, self.w_dim)
        return out
