"""A method's latents as pictures, drawn as that method draws them.

Most methods hand out latents, with or without tensors that stand in for the generator's own, and
any generator draws those. A method whose pictures take more (features of its own, a second network,
the input itself) has a verb `draw`. Whatever shows an inversion or an edit comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from invertory.generators.state import NO_STATE, State, synthesised
from invertory.inversion.method import NO_NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.method import Method


@runtime_checkable
class Drawing(Protocol):
    """What a method has that draws its latents itself."""

    def draw(
        self,
        generator: Generator,
        w_plus: Tensor,
        state: State,
        *,
        origin: Tensor,
        networks: Mapping[str, nn.Module],
    ) -> Tensor:
        """w_plus [N, num_ws, w_dim], edited or not, and the rows' state => [N, 3, R, R].

        `origin`, shaped as `w_plus`, is what the inversion gave; without an edit the two are equal.
        """
        ...


def drawn(
    method: Method | None,
    generator: Generator,
    w_plus: Tensor,
    state: State = NO_STATE,
    *,
    origin: Tensor | None = None,
    networks: Mapping[str, nn.Module] = NO_NETWORKS,
) -> Tensor:
    """w_plus [N, num_ws, w_dim] with the rows' state => pictures [N, 3, R, R], about [-1, 1].

    `origin` is the latent before an edit; none: there was no edit. A row without state, and one of
    no method, is plain synthesis.
    """
    if not state or not isinstance(method, Drawing):
        return synthesised(generator, w_plus, state)
    before = w_plus if origin is None else origin
    return method.draw(generator, w_plus, state, origin=before, networks=networks)


def has_state(method: Method) -> bool:
    """Whether its pictures need more than a latent."""
    return bool(getattr(method, "has_state", False))


def maps_of(method: Method) -> tuple[str, ...]:
    """Names of the small pictures that it gives beside each latent."""
    return cast("tuple[str, ...]", getattr(method, "maps", ()))
