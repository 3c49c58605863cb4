"""Residual blocks of constant size, for the small networks that read images.

He et al., "Deep Residual Learning for Image Recognition", 2016, https://arxiv.org/abs/1512.03385,
with SiLU (Elfwing et al. 2017, https://arxiv.org/abs/1702.03118).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """x [N, inputs, H, W] => [N, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm0 = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        same = inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.silu(self.norm0(self.conv0(x)))
        return functional.silu(self.norm1(self.conv1(y)) + self.skip(x))


def resized(x: Tensor, size_px: int) -> Tensor:
    """Images [N, 3, H, W] => [N, 3, size_px, size_px], antialiased; differentiable.

    Raises ValueError for other shapes.
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"expected images [N, 3, H, W] in [-1, 1], got {list(x.shape)}")
    if x.shape[2:] == (size_px, size_px):
        return x
    return functional.interpolate(x, (size_px, size_px), mode="bilinear", antialias=True)
