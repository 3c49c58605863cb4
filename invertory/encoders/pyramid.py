"""The encoders of pSp, e4e and ReStyle: a backbone, a pyramid of its maps, a head per style.

pSp: Encoding in Style, Richardson et al. 2021, https://arxiv.org/abs/2008.00951. e4e: Designing an
Encoder for StyleGAN Image Manipulation, Tov et al. 2021, https://arxiv.org/abs/2102.02766. ReStyle,
Alaluf et al. 2021, https://arxiv.org/abs/2104.02699. Code of all three: MIT. They differ in three
settings:

            heads   taps       input_channels
    pSp     psp     pyramid    3                each style by itself
    e4e     e4e     pyramid    3                style 0 is w_0, style i > 0 an offset from it
    ReStyle either  coarsest   6                the image and the current reconstruction

With the backbone `ir_se50`, names and shapes are those of the published weights (`from_published`).
The backbone `small` is the trunk of our `ResidualEncoder`, whose weights it can start from
(`adopt`); its heads are narrow enough for 64 px.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.encoders import ir_se
from invertory.encoders.layers import Block, Stem, check_sizes, resize_to
from invertory.encoders.pyramid_layers import Style, upsampled_sum

Backbone = Literal["ir_se50", "small"]
Heads = Literal["psp", "e4e"]
Taps = Literal["pyramid", "coarsest"]

MIDDLE, FINE = 3, 7  # first style read from the map of 1/8 and of 1/4 of the side
SMALL_WIDTHS = (32, 64, 96, 128, 128)  # at the image's side, 1/2, 1/4, 1/8 and 1/16 of it
SMALL_STYLE = 32


class PyramidEncoder(CheckpointedNetwork):
    """x [N, 3, H, H] => w_plus [N, num_ws, w_dim]; see `Encoder`. Defaults: e4e's for FFHQ.

    With six input channels, `forward` computes the first iteration, which sees the average image;
    `residual` computes any iteration.
    """

    w_mean: Tensor  # [num_ws, w_dim]
    w_scale: Tensor  # [num_ws, w_dim], scale of the heads' outputs; 1 in published weights
    average_picture: Tensor  # [3, resolution, resolution] in [-1, 1]; only with six channels

    def __init__(
        self,
        *,
        resolution: int = 256,
        num_ws: int = 18,
        w_dim: int = 512,
        backbone: Backbone = "ir_se50",
        heads: Heads = "e4e",
        taps: Taps = "pyramid",
        input_channels: Literal[3, 6] = 3,
        widths: Sequence[int] = (),
        style_width: int = 0,
        pyramid_width: int = 0,
        num_styles: int = 0,
        reduction: int = 16,
    ) -> None:
        """Build an encoder.

        `widths` are those of the backbone's stages (empty: the usual ones), `style_width` that of
        the heads' maps (0: w_dim as published, 32 for `small`), and `reduction` that of IR-SE's
        excitations.

        Two arguments are ours, for small files: `pyramid_width` is the number of channels of the
        maps that the heads read (0: the last stage's), and `num_styles` the number of heads (0: one
        per row); the last head also gives all following rows.

        Raises `ValueError` for unknown words or sizes that do not fit.
        """
        super().__init__()
        check_sizes(resolution, num_ws, w_dim)
        _check(resolution, backbone, heads, taps, input_channels, widths)
        self.resolution, self.num_ws, self.w_dim = resolution, num_ws, w_dim
        self.backbone, self.heads, self.taps = backbone, heads, taps
        self.input_channels, self.reduction = input_channels, reduction
        is_small = backbone == "small"
        self.widths = tuple(widths) or (SMALL_WIDTHS if is_small else ir_se.WIDTHS)
        self.style_width = style_width or (SMALL_STYLE if is_small else w_dim)
        self.pyramid_width, self.num_styles = pyramid_width, num_styles
        self._build_trunk()
        top = pyramid_width or self.widths[-1]
        self.styles = nn.ModuleList(
            Style(top, self.style_width, w_dim, self._style_px(i))
            for i in range(min(num_styles or num_ws, num_ws))
        )
        if pyramid_width:
            self.toplayer = nn.Conv2d(self.widths[-1], top, 1)
        if taps == "pyramid":
            self.latlayer1 = nn.Conv2d(self.widths[-2], top, 1)
            self.latlayer2 = nn.Conv2d(self.widths[-3], top, 1)
        self.register_buffer("w_mean", torch.zeros(num_ws, w_dim))
        self.register_buffer("w_scale", torch.ones(num_ws, w_dim))
        if input_channels == 6:
            self.register_buffer("average_picture", torch.zeros(3, resolution, resolution))

    def _build_trunk(self) -> None:
        if self.backbone == "small":
            self.stem = Stem(self.widths[0], inputs=self.input_channels)
            pairs = itertools.pairwise(self.widths)
            self.blocks = nn.Sequential(*(Block(i, o) for i, o in pairs))
        else:
            self.input_layer = ir_se.input_layer(self.input_channels, self.widths[0])
            self.body = ir_se.body(self.widths, self.reduction)

    def _level(self, style: int) -> int:
        """0: the map of 1/16 of the side, 1: of 1/8, 2: of 1/4."""
        return 0 if self.taps == "coarsest" else (style >= MIDDLE) + (style >= FINE)

    def _style_px(self, style: int) -> int:
        return self.resolution // 16 << self._level(style)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("resolution", "num_ws", "w_dim", "backbone", "heads", "taps", "input_channels")
        sizes = ("style_width", "pyramid_width", "num_styles", "reduction")
        arguments = {name: getattr(self, name) for name in (*names, *sizes)}
        return arguments | {"widths": list(self.widths)}

    def forward(self, x: Tensor, *, num_deltas: int | None = None) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, num_ws, w_dim], float32.

        `num_deltas`: with e4e's heads, the number of rows after the first with an offset; None:
        all.
        """
        if self.input_channels == 6:
            return self.w_mean + self.residual(x, self.average_picture.expand(len(x), -1, -1, -1))
        return self.w_mean + self.w_scale * self._styles_of(
            resize_to(x, self.resolution), num_deltas
        )

    def residual(self, x: Tensor, synth: Tensor, *, num_deltas: int | None = None) -> Tensor:
        """Images and their current reconstructions, [N, 3, H, H] each => [N, num_ws, w_dim].

        The result is added to the latent. Raises `ValueError` unless the encoder has six input
        channels.
        """
        if self.input_channels != 6:
            raise ValueError(
                "expected an encoder with six input channels (ReStyle), got one with three: "
                "refine by w + E(x) - E(G(w)) instead (`restyle` with `over`)"
            )
        stacked = torch.cat([resize_to(x, self.resolution), resize_to(synth, self.resolution)], 1)
        return self.w_scale * self._styles_of(stacked, num_deltas)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, input_channels, resolution, resolution] => maps of 1/4, 1/8, 1/16 of its side."""
        if self.backbone == "small":
            x = self.blocks[:2](self.stem(x))
            middle = self.blocks[2](x)
            return x, middle, self.blocks[3](middle)
        fine, middle, last = (tap + 1 for tap in ir_se.TAPS)
        x = self.body[:fine](self.input_layer(x))
        y = self.body[fine:middle](x)
        return x, y, self.body[middle:last](y)

    def _styles_of(self, x: Tensor, num_deltas: int | None) -> Tensor:
        """Outputs of the heads, [N, num_ws, w_dim] float32."""
        limit = self.num_ws if num_deltas is None or self.heads == "psp" else num_deltas + 1
        fine, middle, coarse = self.maps(x)
        coarse = self.toplayer(coarse) if self.pyramid_width else coarse
        levels = [coarse]
        if self.taps == "pyramid" and limit > MIDDLE:
            levels.append(upsampled_sum(coarse, self.latlayer1(middle)))
        if self.taps == "pyramid" and limit > FINE:
            levels.append(upsampled_sum(levels[1], self.latlayer2(fine)))
        outputs = [
            style(levels[self._level(i)]) for i, style in enumerate(self.styles) if i < limit
        ]
        outputs += [outputs[-1]] * (limit - len(outputs))  # rows that share the last head
        outputs += [torch.zeros_like(outputs[0])] * (self.num_ws - len(outputs))
        styles = torch.stack(outputs, 1).float()
        if self.heads == "psp":
            return styles
        return torch.cat([styles[:, :1], styles[:, :1] + styles[:, 1:]], 1)  # w_i = w_0 + delta_i

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Set the mean of the generator's w and the unit of the heads.

        `mean` and `scale` are [w_dim] or [num_ws, w_dim].
        """
        self.w_mean.copy_(mean.float().expand_as(self.w_mean))
        self.w_scale.copy_(scale.float().clamp_min(1e-6).expand_as(self.w_scale))

    @torch.no_grad()
    def set_average(self, image: Tensor) -> None:
        """Set the image [3, H, H] of the mean latent, which the first iteration sees."""
        self.average_picture.copy_(resize_to(image[None], self.resolution)[0])

    @torch.no_grad()
    def adopt(self, trunk: Mapping[str, Tensor]) -> int:
        """Copy tensors of another network whose names and shapes agree => how many were copied.

        If a first convolution has three input channels, it becomes the image's half and the
        reconstruction's half starts at zero. Buffers of the latents are not copied: they belong to
        the other network's generator. Raises `ValueError` if no tensor fits.
        """
        own, num = self.state_dict(), 0
        for name, tensor in trunk.items():
            if name not in own or name.startswith("w_"):
                continue
            if name == self._first and tensor.shape[1] == 3 and self.input_channels == 6:
                tensor = torch.cat([tensor, torch.zeros_like(tensor)], 1)
            if own[name].shape == tensor.shape:
                own[name].copy_(tensor)
                num += 1
        if not num:
            raise ValueError(
                f"expected an encoder with maps like {self.backbone}'s ({list(self.widths)}), got "
                "no tensor that fits: leave it out, or set these widths"
            )
        return num

    @property
    def _first(self) -> str:
        return "stem.conv.weight" if self.backbone == "small" else "input_layer.0.weight"

    @classmethod
    def from_published(
        cls,
        tensors: Mapping[str, Tensor],
        config: Mapping[str, Any],
        *,
        w_mean: Tensor,
        average_picture: Tensor | None = None,
    ) -> PyramidEncoder:
        """Load the published tensors of the encoder, without the prefix `encoder.`.

        `w_mean`: the checkpoint's `latent_avg`, [w_dim], [1, w_dim] or [num_ws, w_dim];
        `average_picture`: for ReStyle, the generator's image of it, [3, H, H].
        """
        encoder = cls(**config)
        own = encoder.state_dict()
        added = {"w_mean": w_mean.expand(encoder.num_ws, -1), "w_scale": own["w_scale"]}
        if average_picture is not None:
            added["average_picture"] = resize_to(average_picture[None], encoder.resolution)[0]
        return cls.load({**tensors, **added}, config)


def _check(
    resolution: int, backbone: str, heads: str, taps: str, channels: int, widths: Sequence[int]
) -> None:
    """Check the words, and the sizes: every head needs a map that can be halved."""
    known = {"ir_se50": len(ir_se.WIDTHS), "small": len(SMALL_WIDTHS)}
    is_known = backbone in known and heads in ("psp", "e4e") and taps in ("pyramid", "coarsest")
    if not is_known or channels not in (3, 6) or resolution < 16:
        raise ValueError(
            "expected a backbone among ir_se50 and small, heads psp or e4e, taps pyramid or "
            f"coarsest, 3 or 6 input channels and at least 16 px, got {backbone!r}, {heads!r}, "
            f"{taps!r}, {channels} and {resolution} px"
        )
    if widths and len(widths) != known[backbone]:
        raise ValueError(
            f"expected {known[backbone]} widths for {backbone}, one per stage, got {list(widths)}"
        )
