"""Inversion: pictures to latents. `METHODS` names every method a recipe may ask for.

A method is a frozen dataclass of its hyper-parameters (defaults are the paper's) with four class
attributes (`space`, `terms`, `kind`, `needs`) and one verb, `invert`. Adding one takes its file and
a line in `METHODS`; the recipe's choices, the assets and the contract test follow.

Four more are for those that need them: `has_state` where a picture takes more than its latent,
`maps` with the names of small pictures given beside it, a verb `draw` (see `drawing`), and `check`
where the settings ask for what not every generator or network has (see `Checking`).

Networks that a method needs beside the generator (an encoder, say) are named by kind in `needs`. It
has a field of that name for their address, and is handed them as `networks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual

Space = Literal["w", "w_plus"]
NO_NETWORKS: Final[Mapping[str, nn.Module]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """What inverting N pictures gave; rows in the order of the pictures, on the CPU, float32.

    A row whose loss became non-finite has `is_finite` False and the last finite latent it had; one
    that the method refused before its first step has `is_finite` False and its reason in `refused`.
    """

    space: Space
    latents: Tensor  # [N, 1, w_dim] in W, [N, num_ws, w_dim] in W+
    steps: Tensor  # [N] int, steps taken
    best_step: Tensor  # [N] int, step of the iterate that was kept
    loss: Tensor  # [N] weighted total at the kept iterate
    terms: dict[str, Tensor]  # term => [N], unweighted, at the kept iterate
    is_finite: Tensor  # [N] bool
    state: dict[str, Tensor] = field(default_factory=dict)  # see `invertory.generators.state`
    maps: dict[str, Tensor] = field(
        default_factory=dict
    )  # name => [N, 1, h, w] in [0, 1], to look at
    refused: dict[int, str] = field(default_factory=dict)  # row that took no step => why
    # [N, 3, R, R] in [-1, 1], what the latents give, where the method has drawn it and measured
    # `terms["perceptual"]` on it, with targets of that very size; None: it is still to be drawn
    synths: Tensor | None = None


class Method(Protocol):
    """A method of inversion with its hyper-parameters."""

    kind: ClassVar[Literal["optimisation", "feed_forward"]]

    @property
    def space(self) -> Space:
        """Of the latents."""
        ...

    @property
    def terms(self) -> tuple[str, ...]:
        """Of the loss."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Kinds of the networks it is handed: encoder, discriminator, classifier, ..."""
        ...

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, W] float32 in [-1, 1] => `Inversion`, on `targets.device`.

        `seeds` has one seed per row; a row's result depends on its picture and its seed alone.
        `networks` has a network of each kind in `needs`, frozen, in eval, on `targets.device`.
        """
        ...


@runtime_checkable
class Checking(Protocol):
    """What a method has whose settings can be at odds with the generator or a network."""

    def check(self, generator: Generator, told: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises ValueError where they are, before anything is loaded.

        Of `generator` only the sizes are looked at: it may lie on the device "meta". `told` has the
        configuration of each network, by kind, as far as its card is at hand.
        """
        ...


# Below the contracts, because the methods import them.
from invertory.inversion.e4e import E4E  # noqa: E402
from invertory.inversion.gaussian_prior import GaussianPrior  # noqa: E402
from invertory.inversion.hybrid import Hybrid  # noqa: E402
from invertory.inversion.image2stylegan import Image2StyleGAN  # noqa: E402
from invertory.inversion.image2stylegan_plus import Image2StyleGANPlus  # noqa: E402
from invertory.inversion.in_domain.conventional_encoder import ConventionalEncoder  # noqa: E402
from invertory.inversion.in_domain.domain_guided_encoder import DomainGuidedEncoder  # noqa: E402
from invertory.inversion.in_domain.optimisation import InDomain  # noqa: E402
from invertory.inversion.invgan.encoder import InvGAN  # noqa: E402
from invertory.inversion.invgan.tiled import InvGANTiled  # noqa: E402
from invertory.inversion.magec import Magec  # noqa: E402
from invertory.inversion.projector import Projector  # noqa: E402
from invertory.inversion.psp import PSP  # noqa: E402
from invertory.inversion.pti.method import PivotalTuning  # noqa: E402
from invertory.inversion.restyle import ReStyle  # noqa: E402
from invertory.inversion.sam.encoder import SamByEncoder  # noqa: E402
from invertory.inversion.sam.optimisation import SpatiallyAdaptive  # noqa: E402
from invertory.inversion.samm.method import SAMM  # noqa: E402

METHODS: dict[str, type[Method]] = {
    "conventional_encoder": ConventionalEncoder,
    "domain_guided_encoder": DomainGuidedEncoder,
    "e4e": E4E,
    "gaussian_prior": GaussianPrior,
    "hybrid": Hybrid,
    "image2stylegan": Image2StyleGAN,
    "image2stylegan_plus": Image2StyleGANPlus,
    "in_domain": InDomain,
    "invgan": InvGAN,
    "invgan_tiled": InvGANTiled,
    "magec": Magec,
    "projector": Projector,
    "psp": PSP,
    "pti": PivotalTuning,
    "restyle": ReStyle,
    "sam": SpatiallyAdaptive,
    "sam_encoder": SamByEncoder,
    "samm": SAMM,
}
