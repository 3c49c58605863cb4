"""Images from a method's latents, drawn the way that the method draws them.

Most methods return latents, with or without tensors that replace the generator's own, and any
generator can draw those. A method whose images need more (features, a second network, the input
itself) has a verb `draw`. All code that displays an inversion or an edit calls `draw_latents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from invertory.generators.state import NO_STATE, State, synthesise
from invertory.inversion.method import NO_NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.method import Method


@runtime_checkable
class SupportsDraw(Protocol):
    """A method that draws its latents itself."""

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

        `origin`, shaped like `w_plus`, is the latent of the inversion; it equals `w_plus` if there
        is no edit.
        """
        ...


def draw_latents(
    method: Method | None,
    generator: Generator,
    w_plus: Tensor,
    state: State = NO_STATE,
    *,
    origin: Tensor | None = None,
    networks: Mapping[str, nn.Module] = NO_NETWORKS,
) -> Tensor:
    """w_plus [N, num_ws, w_dim] with the rows' state => images [N, 3, R, R], about [-1, 1].

    `origin` is the latent before an edit; None means that there was no edit. Without a state or a
    method, the image is plain synthesis.
    """
    if not state or not isinstance(method, SupportsDraw):
        return synthesise(generator, w_plus, state)
    before = w_plus if origin is None else origin
    return method.draw(generator, w_plus, state, origin=before, networks=networks)


def has_state(method: Method) -> bool:
    """Whether the method's images need more than a latent."""
    return bool(getattr(method, "has_state", False))


def maps_of(method: Method) -> tuple[str, ...]:
    """Names of the small images that the method stores beside each latent."""
    return cast("tuple[str, ...]", getattr(method, "maps", ()))
