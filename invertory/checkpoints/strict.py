"""Load tensors into a network by name, or report in one sentence how they differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed import DataclassInstance
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

NUM_NAMED = 3  # names listed in an error for each kind of difference


class ArchitectureError(ValueError):
    """A checkpoint of another architecture than the network it is loaded into."""


def arguments_of(config: DataclassInstance) -> dict[str, Any]:
    """Convert a network's config to a card's arguments: tuples become lists, as in JSON."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }


def load_strictly(network: Network, tensors: Mapping[str, Tensor]) -> Network:
    """Copy `tensors` into the network, in the network's dtype, and return the network.

    Raises `ArchitectureError`, and copies nothing, if a name is missing or unknown or a shape
    differs.
    """
    own = network.state_dict()
    differences = [
        _named("lacks", own.keys() - tensors.keys()),
        _named("has unknown", tensors.keys() - own.keys()),
        _named(
            "differs in",
            (
                f"{name} (expected {list(own[name].shape)}, got {list(tensors[name].shape)})"
                for name in own.keys() & tensors.keys()
                if own[name].shape != tensors[name].shape
            ),
        ),
    ]
    if difference := "; ".join(filter(None, differences)):
        raise ArchitectureError(
            f"expected the {len(own)} tensors of {type(network).__name__}, got a checkpoint that "
            f"{difference}; name the architecture and the config that it was written with"
        )
    network.load_state_dict(dict(tensors))
    return network


def _named(verb: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    if not ordered:
        return ""
    rest = f" and {len(ordered) - NUM_NAMED} more" if len(ordered) > NUM_NAMED else ""
    return f"{verb} {', '.join(ordered[:NUM_NAMED])}{rest}"
