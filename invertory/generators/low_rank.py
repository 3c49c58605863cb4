"""Low-rank changes of a kernel, up @ down, one per row, for a whole batch at once.

LoRA: Low-Rank Adaptation of Large Language Models, Hu et al. 2021,
https://arxiv.org/abs/2106.09685, applied to modulated convolutions. The kernel W that all rows
share remains one convolution of the batch. A row's own change goes through its r channels: a matrix
product at the low side, a sum of shifted maps, and a matrix product at the high side. The per-row
kernels are never materialised.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import fold

from invertory.generators.stylegan2_ops import conv2d_points, layout, upfirdn2d


@dataclass(frozen=True, slots=True)
class LowRank:
    """W [O, I, k, k] becomes W + (up @ down) as [O, I, k, k], row by row."""

    up: Tensor  # [N, O, r]
    down: Tensor  # [N, r, I * k * k]

    def points(self) -> Tensor:
        """The change of a 1x1 kernel, [N, O, I]."""
        return self.up @ self.down

    def conv3x3(self, x: Tensor) -> Tensor:
        """The change of a 3x3 convolution of x [N, I, H, W], padded by 1: [N, O, H, W]."""
        taps = self._taps(x, is_flipped=True)
        low = fold(taps, x.shape[2:], kernel_size=3, padding=1)  # [N, r, H, W]
        return self._raise_rank(low, x)

    def conv3x3_up2x(self, x: Tensor, fir: Tensor) -> Tensor:
        """The change of `conv2d_up2x` with a 3x3 kernel and the low-pass `fir`: [N, O, 2H, 2W]."""
        height, width = x.shape[2:]
        taps = self._taps(x, is_flipped=False)
        low = fold(taps, (2 * height + 1, 2 * width + 1), kernel_size=3, stride=2)
        total = fir.shape[-1] - 2  # total padding for an output of 2H
        before = (total + 1) // 2
        low = upfirdn2d(low, fir, padding=(before, total - before) * 2, gain=4)
        return self._raise_rank(low, x)

    def energy(self, weight: Tensor, style: Tensor) -> Tensor:
        """Growth of sum_ik (style_i kernel_oik)^2, by which demodulation divides: [N, O].

        |W + D|^2 - |W|^2 = 2 W . D + |D|^2, both computed through the factors; weight [O, I, k, k].
        """
        squares = style.square().repeat_interleave(weight[0, 0].numel(), 1)  # [N, I k k]
        scaled = self.down * squares[:, None]
        cross = scaled @ weight.reshape(len(weight), -1).T  # [N, r, O]
        gram = scaled @ self.down.mT  # [N, r, r]
        return (self.up * (2 * cross.mT + self.up @ gram)).sum(2)

    def _taps(self, x: Tensor, *, is_flipped: bool) -> Tensor:
        """Multiply every tap with every pixel, [N, r * 9, H * W], for `fold` to sum in place."""
        n, rank = self.down.shape[:2]
        kernel = self.down.reshape(n, rank, x.shape[1], 9)
        if is_flipped:  # a correlation gathers what `fold` scatters
            kernel = kernel.flip(3)
        kernel = kernel.permute(0, 1, 3, 2).reshape(n, rank * 9, x.shape[1])
        return conv2d_points(x, kernel.to(x.dtype)).flatten(2)

    def _raise_rank(self, low: Tensor, like: Tensor) -> Tensor:
        """low [N, r, H, W] => [N, O, H, W], in the memory layout of the features."""
        low = low.to(like.dtype, memory_format=layout(like))
        return conv2d_points(low, self.up.to(like.dtype))
