"""SAM's encoders map an image and its space map to W+ and to a feature change in each F space.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.3. The encoders were never released. The paper
specifies: a separate encoder per space, which sees the image and the invertibility map; image
formation by eq. 3.3 and 3.4; the objective 3.8; training on the same images as the predictor.

The rest is our choice. The encoder into W+ is an existing one that is fine-tuned; the map scales
and shifts its input image. An F encoder additionally sees the synthesis of w_plus, its difference
from the image, the feature that it changes (which already contains coarser changes), and w_plus,
whose later rows determine the effect of a change. It works at the size of its feature, sees images
of at most four times that size, and predicts in units of the standard deviation of the feature. All
last layers are initialised to zero, so that a fresh network reproduces its base encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.checkpoints.strict import load_strictly
from invertory.encoders import ENCODERS
from invertory.encoders.layers import resize_to
from invertory.generators.f_space import (
    W_PLUS,
    Features,
    f_spaces,
    masks_of,
    resolve_spaces,
)
from invertory.generators.stylegan2_layers import Hooks
from invertory.networks.residual import ResidualBlock

if TYPE_CHECKING:
    from invertory.encoders import Encoder
    from invertory.generators import Generator

DETAIL = 4  # largest ratio of the image seen by an F encoder to its feature
Shapes = Mapping[str, Sequence[int]]  # F space => channels and px of its feature
Sizes = tuple[int, int]  # width and number of blocks


@dataclass(frozen=True, slots=True)
class SamSynthesis:
    """Latents, feature changes and the images synthesised from them (eq. 3.4)."""

    w_plus: Tensor  # [N, num_ws, w_dim]
    features: Features
    images: Tensor  # [N, 3, R, R]


class DeltaEncoder(nn.Module):
    """The encoder of one F space: inputs at the feature's size, and the feature => its change."""

    scale: Tensor  # [C, 1, 1], deviation of the feature

    def __init__(
        self, inputs: tuple[int, int], shape: Sequence[int], latent: tuple[int, int], sizes: Sizes
    ) -> None:
        """`inputs`: channels, and size relative to the feature; `latent`: num_ws and w_dim."""
        super().__init__()
        channels, self.px = shape
        (num_inputs, self.factor), (num_ws, w_dim), (hidden, depth) = inputs, latent, sizes
        self.narrow = nn.Conv2d(num_inputs, hidden, self.factor, stride=self.factor)
        self.feature = nn.Conv2d(channels, hidden, 1)
        self.rows = nn.Parameter(torch.zeros(num_ws))  # weight of each row of W+, before a softmax
        self.style = nn.Linear(w_dim, 2 * hidden)
        self.blocks = nn.Sequential(*(ResidualBlock(hidden, hidden) for _ in range(depth)))
        self.delta = nn.Conv2d(hidden, channels, 1)
        self.register_buffer("scale", torch.ones(channels, 1, 1))
        for layer in (self.style, self.delta):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(cast("Tensor", layer.bias))

    def forward(self, inputs: Tensor, x: Tensor, w_plus: Tensor) -> Tensor:
        """inputs [N, num_inputs, f r, f r], x [N, C, r, r], w_plus [N, num_ws, w_dim] => like x."""
        w = (self.rows.softmax(0)[:, None] * w_plus).sum(1)
        gain, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        y = self.narrow(inputs) + self.feature(x / self.scale)
        y = self.blocks(y * (1 + gain) + shift)
        out: Tensor = self.delta(y).float() * self.scale
        return out


class SamEncoder(CheckpointedNetwork):
    """Images and their space maps => `SamSynthesis`; called on images alone, returns w_plus.

    `base` is a name in `ENCODERS` with its configuration. Norm layers of the base keep their
    statistics in training. A space map is `choice` [N, H, W], the index into `spaces` of each
    pixel.
    """

    def __init__(
        self, *, base: Mapping[str, Any], shapes: Shapes, hidden: int = 48, depth: int = 2
    ) -> None:
        super().__init__()
        if base.get("name") not in ENCODERS:
            raise ValueError(f"expected a base among {sorted(ENCODERS)}, got {base.get('name')!r}")
        self._base_config = {"name": base["name"], "config": dict(base["config"])}
        self.base = cast("Encoder", ENCODERS[base["name"]](**base["config"]))
        self.resolution, self.num_ws = self.base.resolution, self.base.num_ws
        self.w_dim = self.base.w_dim
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.hidden, self.depth = hidden, depth
        self.tint = nn.Conv2d(len(self.spaces), 6, 1, bias=False)
        nn.init.zeros_(self.tint.weight)
        latent, colours = (self.num_ws, self.w_dim), 6 + len(self.spaces)
        self.deltas = nn.ModuleDict()
        for name, (channels, px) in self.shapes.items():
            inputs = (colours, max(1, min(DETAIL, self.resolution // px)))
            self.deltas[name] = DeltaEncoder(inputs, (channels, px), latent, (hidden, depth))

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces, most editable first."""
        return (W_PLUS, *self.shapes)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-serialisable."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return {
            "base": self._base_config,
            "shapes": shapes,
            "hidden": self.hidden,
            "depth": self.depth,
        }

    @classmethod
    def from_base(
        cls,
        generator: Generator,
        base: nn.Module,
        spaces: Sequence[str],
        *,
        hidden: int = 48,
        depth: int = 2,
    ) -> SamEncoder:
        """A new encoder that reproduces `base`, for W+ and the given F spaces of the generator.

        Raises ValueError if `base` is not one of `ENCODERS` or a space is unknown.
        """
        names = [name for name, kind in ENCODERS.items() if type(base) is kind]
        if not names:
            raise ValueError(
                f"expected a base among {sorted(ENCODERS)}, got a {type(base).__name__}: start "
                "from one of these"
            )
        known = f_spaces(generator)
        base_config = {"name": names[0], "config": cast("Any", base).config}
        selected = resolve_spaces(generator, (W_PLUS, *(name for name in spaces if name != W_PLUS)))
        shapes = {name: known[name][1][:2] for name in selected if name != W_PLUS}
        encoder = cls(base=base_config, shapes=shapes, hidden=hidden, depth=depth)
        load_strictly(cast("nn.Module", encoder.base), base.state_dict())
        return encoder.check_fits(generator)

    def train(self, mode: bool = True) -> SamEncoder:
        """As in `nn.Module`, but the base stays in eval mode with fixed norm statistics."""
        super().train(mode)
        cast("nn.Module", self.base).eval()
        return self

    def check_fits(self, generator: Generator) -> SamEncoder:
        """Return self; raises ValueError unless latents and features match the generator's."""
        known = {name: shape[:2] for name, (_, shape) in f_spaces(generator).items()}
        is_latent = (self.num_ws, self.w_dim) == (generator.num_ws, generator.w_dim)
        if not is_latent or any(known.get(name) != shape for name, shape in self.shapes.items()):
            raise ValueError(
                f"expected an encoder into [{generator.num_ws}, {generator.w_dim}] and features "
                f"among {known}, the generator's, got one into [{self.num_ws}, {self.w_dim}] and "
                f"{self.shapes}: name the SAM encoder that was trained for this generator"
            )
        return self

    @torch.no_grad()
    def set_statistics(self, features: Mapping[str, Tensor]) -> None:
        """Set the standard deviations of features [N, C, r, r] by space."""
        for name, feature in features.items():
            spread = feature.float().std((0, 2, 3))
            floor = spread.mean() * 0.1  # allows changes in channels that hardly vary
            encoder = cast("DeltaEncoder", self.deltas[name])
            encoder.scale.copy_(spread.clamp_min(floor)[:, None, None])

    def forward(self, x: Tensor, choice: Tensor | None = None) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, num_ws, w_dim], float32; without a map, all in
        W+.
        """
        if choice is None:
            choice = torch.zeros((len(x), *x.shape[2:]), dtype=torch.uint8, device=x.device)
        return self._encode_w_plus(resize_to(x, self.resolution), self._space_maps(choice))

    def form(self, generator: Generator, x: Tensor, choice: Tensor) -> SamSynthesis:
        """x [N, 3, H, H] in [-1, 1] and its space map => `SamSynthesis` of the generator."""
        w_plus, masks, hooks, deltas = self._prepare_hooks(generator, x, choice)
        extra: dict[str, Any] = {"hooks": Hooks(after_block=hooks)} if hooks else {}
        images = generator.synthesis(w_plus, **extra)
        return SamSynthesis(w_plus, Features(deltas, masks), images)

    @torch.no_grad()
    def encode(self, generator: Generator, x: Tensor, choice: Tensor) -> tuple[Tensor, Features]:
        """As `form` without the image; the synthesis stops at the finest feature."""
        w_plus, masks, hooks, deltas = self._prepare_hooks(generator, x, choice)
        if hooks:
            finest = max(hooks, key=lambda block: masks[block].shape[-1])
            extra: dict[str, Any] = {"hooks": Hooks(after_block=hooks)}
            generator.features(w_plus, (finest,), **extra)
        return w_plus, Features(deltas, masks)

    def _prepare_hooks(
        self, generator: Generator, x: Tensor, choice: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Callable[[Tensor], Tensor]], dict[str, Tensor]]:
        """w_plus, masks by block, hooks, and the deltas that the hooks record (masked changes)."""
        if choice.shape != (len(x), *x.shape[2:]):
            raise ValueError(
                f"expected a map {[len(x), *x.shape[2:]]} with a space for each pixel, got "
                f"{list(choice.shape)}: resize it to the images' size"
            )
        masks = masks_of(generator, choice, self.spaces)
        x, maps = resize_to(x, self.resolution), self._space_maps(choice)
        w_plus, deltas = self._encode_w_plus(x, maps), dict[str, Tensor]()
        if not masks:
            return w_plus, masks, {}, deltas
        with torch.no_grad():
            synth = resize_to(generator.preview(w_plus, self.resolution).float(), self.resolution)
        inputs = torch.cat([x, x - synth, maps], 1)
        blocks = {name: f_spaces(generator)[name][0] for name in self.shapes}
        hooks = {
            block: partial(self._apply_delta, name, block, inputs, w_plus, masks[block], deltas)
            for name, block in blocks.items()
        }
        return w_plus, masks, dict(hooks), deltas

    def _apply_delta(
        self,
        name: str,
        block: str,
        inputs: Tensor,
        w_plus: Tensor,
        mask: Tensor,
        deltas: dict[str, Tensor],
        x: Tensor,
    ) -> Tensor:
        """Eq. 3.3 at one block, x + m * delta; records the masked change in `deltas`."""
        encoder = cast("DeltaEncoder", self.deltas[name])
        px = encoder.px * encoder.factor
        if inputs.shape[-1] != px:
            inputs = interpolate(inputs, size=(px, px), mode="area")
        deltas[block] = mask * encoder(inputs, x, w_plus)
        return x + deltas[block].to(x.dtype)

    def _encode_w_plus(self, x: Tensor, maps: Tensor) -> Tensor:
        gain, shift = self.tint(maps).float().chunk(2, 1)
        return self.base(x * (1 + gain) + shift)

    def _space_maps(self, choice: Tensor) -> Tensor:
        """choice [N, H, W] => share of each space, [N, S, resolution, resolution]."""
        maps = one_hot(choice.long(), len(self.spaces)).movedim(-1, 1).float()
        size = (self.resolution,) * 2
        return maps if maps.shape[2:] == size else interpolate(maps, size=size, mode="area")
