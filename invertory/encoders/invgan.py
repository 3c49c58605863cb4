"""InvGAN's encoder: the discriminator with a second head that predicts the image's latent.

InvGAN: Invertable GANs, Ghosh et al., section 3.1: w~, c = D(x). No code was published; the head's
shape is ours, that of `ResidualEncoder`'s last layers. It reads the discriminator's 4 px map before
the batch deviation that StyleGAN2's realness uses, so an image's code does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.encoders.layers import resize_to
from invertory.generators.biggan import BigGANDiscriminator
from invertory.generators.dcgan import DCGANDiscriminator
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator

SLOPE = 0.2
BACKBONES: dict[str, type[nn.Module]] = {
    "biggan": BigGANDiscriminator,
    "dcgan": DCGANDiscriminator,
    "stylegan2": StyleGAN2Discriminator,
}


class Backbone(Protocol):
    """The interface that the three discriminators share."""

    @property
    def config(self) -> dict[str, Any]: ...

    @property
    def out_channels(self) -> int:
        """Channels of the last map."""
        ...

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, R, R] => maps, the last [N, C, 4, 4]."""
        ...

    def judge(self, x: Tensor) -> Tensor:
        """The last map => logits [N]."""
        ...


class DiscriminatorOutput(NamedTuple):
    """Outputs of D for images: realness c [N], latents w~ [N, w_dim] (float32), and its maps."""

    logits: Tensor
    w: Tensor
    maps: list[Tensor]


class LatentHead(nn.Module):
    """[N, C, 4, 4] => w~ [N, w_dim], float32."""

    def __init__(self, channels: int, w_dim: int, narrow: int, hidden: int) -> None:
        super().__init__()
        self.narrowing = nn.Conv2d(channels, narrow, 1)
        self.fc = nn.Linear(16 * narrow, hidden)
        self.code = nn.Linear(hidden, w_dim)
        nn.init.zeros_(self.code.bias)
        nn.init.normal_(self.code.weight, std=0.1 / hidden**0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.narrowing(x), SLOPE).flatten(1)
        out: Tensor = self.code(leaky_relu(self.fc(x), SLOPE)).float()
        return out


class InvGANEncoder(CheckpointedNetwork):
    """x [N, 3, H, H] => w_plus [N, 1, w_dim], one w for every row; see `Encoder`."""

    num_ws = 1

    def __init__(
        self,
        *,
        backbone: str,
        discriminator: Mapping[str, Any],
        w_dim: int,
        narrow: int = 32,
        hidden: int = 256,
    ) -> None:
        """Build with `discriminator`, the arguments of the backbone's discriminator.

        Raises `ValueError` for an unknown backbone.
        """
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"expected a backbone among {sorted(BACKBONES)}, got {backbone!r}")
        self.backbone, self.w_dim, self.narrow, self.hidden = backbone, w_dim, narrow, hidden
        self.discriminator = BACKBONES[backbone](**discriminator)
        config = self._judge.config
        self.resolution = int(config.get("resolution") or config["img_resolution"])
        self.head = LatentHead(self._judge.out_channels, w_dim, narrow, hidden)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("backbone", "w_dim", "narrow", "hidden")
        own = {name: getattr(self, name) for name in names}
        return own | {"discriminator": self._judge.config}

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, 1, w_dim], float32."""
        out: Tensor = self.head(self._judge.features(resize_to(x, self.resolution))[-1])[:, None]
        return out

    def discriminate(self, x: Tensor) -> DiscriminatorOutput:
        """Run both heads on images [N, 3, R, R]."""
        maps = self._judge.features(x)
        return DiscriminatorOutput(self._judge.judge(maps[-1]), self.head(maps[-1]), maps)

    def realness(self, x: Tensor) -> Tensor:
        """x [N, 3, R, R] => logits c [N], positive for real."""
        return self._judge.judge(self._judge.features(x)[-1])

    @property
    def _judge(self) -> Backbone:
        return cast("Backbone", self.discriminator)
