"""MobileStyleGAN: StyleGAN2-FFHQ distilled to 10 M parameters at 1024 px, for the CPU.

Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image
Synthesis", 2021, https://arxiv.org/abs/2104.04767. Depthwise-separable modulated convolutions
without demodulation, upsampling by an inverse Haar wavelet transform, and an output in wavelet
coefficients. Matches the OpenVINO graphs of the package random-face 2021.7.21.1.

Rows of w_plus: row 0 is the 4 px convolution; block i (8, 16, ... 512 px) reads rows 1 + 3 i
(upsampling), 2 + 3 i and 3 + 3 i (its two convolutions); the last row is the output's. Noise is
constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.checkpoints.openvino_ir import read_ir
from invertory.checkpoints.random_face import mapping_tensors, synthesis_tensors
from invertory.generators.mobile_layers import (
    AfterConv,
    Block,
    MappingNetwork,
    Modulation,
    StyledConv,
    inverse_haar,
)
from invertory.generators.preview import PreviewHead, head_widths
from invertory.generators.stylegan2_layers import Hooks

CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64)  # at 4, 8, ... 512 px
W_AVG_SAMPLES, W_AVG_SEED = 10_000, 0


class MobileStyleGAN(CheckpointedNetwork):
    """The generator, frozen and in eval; see `Generator` for its interface.

    `preview` needs a trained head (`attach_preview`); without one it equals `synthesis`. Every row
    of w_plus also affects the preview.
    """

    w_avg: Tensor

    def __init__(
        self,
        *,
        channels: Sequence[int] = CHANNELS,
        w_dim: int = 512,
        mapping_layers: int = 8,
        heads: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.z_dim = self.w_dim = w_dim
        self.num_ws = 3 * len(self.channels) - 1
        self.resolution = 4 * 2 ** len(self.channels)
        self.mapping_network = MappingNetwork(w_dim, mapping_layers)
        self.constant = nn.Parameter(torch.zeros(1, channels[0], 4, 4))
        self.stem = StyledConv(w_dim, (channels[0], channels[0]), 4, is_separable=False)
        self.blocks = nn.ModuleList(
            Block(w_dim, fan, 8 * 2**i) for i, fan in enumerate(pairwise(self.channels))
        )
        self.to_img_modulation = Modulation(w_dim, channels[-1], 1 / math.sqrt(channels[-1]))
        self.to_img = nn.Conv2d(channels[-1], 12, 1)
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.heads = nn.ModuleDict()  # by resolution in px
        self.preview_resolution = self.resolution
        for head in heads:
            self.attach_preview(PreviewHead(**head))
        self.eval().requires_grad_(False)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that `load` needs besides the tensors, ready for JSON."""
        return {
            "channels": list(self.channels),
            "w_dim": self.w_dim,
            "mapping_layers": len(self.mapping_network.layers),
            "heads": [head.config for head in self._heads()],
        }

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Outputs of the convolutions at each size: b4, b8, ... b512."""
        return tuple(f"b{4 * 2**i}" for i in range(len(self.channels)))

    def mapping(self, z: Tensor) -> Tensor:
        """z [N, z_dim] => w [N, w_dim]."""
        out: Tensor = self.mapping_network(z)
        return out

    @property
    def feature_shapes(self) -> dict[str, tuple[int, int]]:
        """(channels, px) of each feature that hooks can change."""
        sizes = {f"b{4 * 2**i}": 4 * 2**i for i in range(len(self.channels))}
        return {name: (self.channels[i], px) for i, (name, px) in enumerate(sizes.items())}

    def synthesis(self, w_plus: Tensor, *, hooks: Hooks | None = None) -> Tensor:
        """w_plus [N, num_ws, w_dim] => images [N, 3, resolution, resolution], about [-1, 1].

        The hooks `after_block` and `after_conv` are supported; there is no RGB before the output.
        """
        last = self.feature_names[-1]
        x = self.features(w_plus, (last,), hooks)[last] * self.to_img_modulation(w_plus[:, -1])
        return inverse_haar(self.to_img(x))

    def preview(
        self, w_plus: Tensor, min_px: int | None = None, *, hooks: Hooks | None = None
    ) -> Tensor:
        """w_plus [N, num_ws, w_dim] => the preview [N, 3, px, px], px = preview_resolution.

        With `min_px`, the smallest preview of at least that size.
        """
        enough = [head.resolution for head in self._heads() if head.resolution >= (min_px or 0)]
        is_free = min_px is not None and enough
        return self.preview_at(w_plus, min(enough) if is_free else self.preview_resolution, hooks)

    def preview_at(self, w_plus: Tensor, resolution: int, hooks: Hooks | None = None) -> Tensor:
        """The image at the resolution of one of the heads, or the full one, in px.

        Raises `ValueError` if there is no head of that resolution.
        """
        if resolution == self.resolution:
            return self.synthesis(w_plus, hooks=hooks)
        if str(resolution) not in self.heads:
            raise ValueError(
                f"expected a resolution among {', '.join(self.heads)} or {self.resolution} px, got "
                f"{resolution}; attach a head for it with attach_preview"
            )
        name = f"b{resolution}"
        x = self.features(w_plus, (name,), hooks)[name]
        out: Tensor = self.heads[str(resolution)](x, w_plus, self)
        return out

    def features(
        self, w_plus: Tensor, names: tuple[str, ...], hooks: Hooks | None = None
    ) -> dict[str, Tensor]:
        """Feature maps [N, C, px, px] of the named sizes; stops after the last one."""
        self._check(w_plus, names)
        hooks = hooks or Hooks()
        maps: dict[str, Tensor] = {}
        w = w_plus[:, 0]
        first = _with_w(hooks, "b4.conv1", w)
        x = self.stem(self.constant * self.stem.modulation(w), first)
        for i, name in enumerate(self.feature_names):
            if i > 0:
                w = w_plus[:, 3 * i - 2 : 3 * i + 1]
                own = [_with_w(hooks, f"{name}.conv{k}", w[:, 1 + k]) for k in range(2)]
                x = self.blocks[i - 1](x, w, own)
            if name in hooks.after_block:
                x = hooks.after_block[name](x)
            if name in names:
                maps[name] = x
            if len(maps) == len(set(names)):
                break
        return maps

    def weights(self) -> dict[str, Tensor]:
        """The parameters of `synthesis` that can be tuned, by name."""
        apart = ("mapping_network.", "heads.")
        return {n: t for n, t in self.named_parameters() if not n.startswith(apart)}

    def kernels(self) -> dict[str, Tensor]:
        """The weights that mix channels: those of the convolutions and of the output."""
        own = ("stem.weight", "conv1.weight", "conv2.weight", "to_img.weight")
        return {name: tensor for name, tensor in self.weights().items() if name.endswith(own)}

    def attach_preview(self, *heads: PreviewHead) -> MobileStyleGAN:
        """Attach heads, so that `preview` stops at the finest of them; returns self.

        Raises `ValueError` if a head does not fit the generator.
        """
        for head in heads:
            expected = [list(pair) for pair in head_widths(self, head.resolution)]
            if head.config["widths"] != expected:
                raise ValueError(
                    f"expected a head of widths {expected} at {head.resolution} px, got "
                    f"{head.config['widths']}; train one for this generator: "
                    "python -m invertory.training.preview_head"
                )
            self.heads[str(head.resolution)] = head.to(self.constant.device)
        self.heads.eval().requires_grad_(False)
        self.preview_resolution = max(head.resolution for head in self._heads())
        return self

    def blocks_above(self, resolution: int) -> list[tuple[int, Block]]:
        """The blocks after the feature of `resolution` px, with their indices."""
        name = f"b{resolution}"
        if name not in self.feature_names[:-1]:
            raise ValueError(
                f"expected a feature below the last of {', '.join(self.feature_names)}, got {name}"
            )
        first = self.feature_names.index(name)
        blocks = [(i, block) for i, block in enumerate(self.blocks) if isinstance(block, Block)]
        return blocks[first:]

    def _heads(self) -> list[PreviewHead]:
        return [head for head in self.heads.values() if isinstance(head, PreviewHead)]

    def _check(self, w_plus: Tensor, names: tuple[str, ...]) -> None:
        if w_plus.ndim != 3 or w_plus.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, {self.num_ws}, {self.w_dim}], got {list(w_plus.shape)}; "
                "repeat a w over the rows: w[:, None].expand(-1, G.num_ws, -1)"
            )
        unknown = set(names) - set(self.feature_names)
        if unknown or not names:
            raise ValueError(
                f"expected feature names among {', '.join(self.feature_names)}, "
                f"got {sorted(unknown) or 'none'}"
            )

    @classmethod
    def from_openvino(
        cls, mapping_xml: bytes, mapping_bin: bytes, synthesis_xml: bytes, synthesis_bin: bytes
    ) -> MobileStyleGAN:
        """Load the four files of random_face/data, as bytes."""
        generator = cls()
        mapping = mapping_tensors(read_ir(mapping_xml, mapping_bin))
        tensors = {f"mapping_network.{name}": tensor for name, tensor in mapping.items()}
        tensors |= synthesis_tensors(read_ir(synthesis_xml, synthesis_bin), len(generator.blocks))
        generator.load_state_dict(tensors | {"w_avg": generator.w_avg})
        generator.w_avg.copy_(mean_w(generator))
        return generator


def _with_w(hooks: Hooks, name: str, w: Tensor) -> AfterConv | None:
    """Bind the hook of that convolution, named as in StyleGAN2, to its w [N, w_dim]."""
    hook = hooks.after_conv.get(name)
    return None if hook is None else lambda x: hook(x, w)


def mean_w(generator: MobileStyleGAN) -> Tensor:
    """Mean of mapping(z) over `W_AVG_SAMPLES` draws of z from a fixed seed, [w_dim]."""
    rng = torch.Generator().manual_seed(W_AVG_SEED)
    z = torch.randn(W_AVG_SAMPLES, generator.z_dim, generator=rng)
    return generator.mapping(z).double().mean(0).float()
