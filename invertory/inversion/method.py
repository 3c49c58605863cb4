"""What a method of inversion is: the protocol, what it returns, and what it may offer besides."""

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
