"""The protocol of an inversion method, its result, and its optional parts."""

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
    """The result of inverting N images: rows in the order of the images, on the CPU, float32.

    A row whose loss became non-finite has `is_finite` False and its last finite latent. A row that
    the method refused before the first step has `is_finite` False and its reason in `refused`.
    """

    space: Space
    latents: Tensor  # [N, 1, w_dim] in W, [N, num_ws, w_dim] in W+
    steps: Tensor  # [N] int, steps taken
    best_step: Tensor  # [N] int, step of the kept iterate
    loss: Tensor  # [N] weighted total at the kept iterate
    terms: dict[str, Tensor]  # term => [N], unweighted, at the kept iterate
    is_finite: Tensor  # [N] bool
    state: dict[str, Tensor] = field(default_factory=dict)  # see `invertory.generators.state`
    maps: dict[str, Tensor] = field(
        default_factory=dict
    )  # name => [N, 1, h, w] in [0, 1], for display
    refused: dict[int, str] = field(default_factory=dict)  # row that took no step => reason
    # [N, 3, R, R] in [-1, 1]: the images of the latents, if the method has drawn them and measured
    # `terms["perceptual"]` on them with targets of the same size; None: still to be drawn
    synths: Tensor | None = None


class Method(Protocol):
    """An inversion method with its hyper-parameters."""

    kind: ClassVar[Literal["optimisation", "feed_forward"]]

    @property
    def space(self) -> Space:
        """Space of the latents."""
        ...

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Kinds of the networks that `invert` receives: encoder, discriminator, classifier, ..."""
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
        """targets [N, 3, H, W] float32 in [-1, 1] => `Inversion`, computed on `targets.device`.

        `seeds` has one seed per row; a row's result depends only on its image and its seed.
        `networks` has a network of each kind in `needs`, frozen, in eval mode, on `targets.device`.
        """
        ...


@runtime_checkable
class SupportsCheck(Protocol):
    """A method whose settings may not fit every generator or network."""

    def check(self, generator: Generator, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise ValueError if the settings do not fit, before any weights are loaded.

        Only the sizes of `generator` are read: it may be on the "meta" device. `configs` has the
        config of each network, by kind, if its card is available.
        """
        ...
