"""Networks that a checkpoint can rebuild from their constructor's arguments and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from torch import nn

from invertory.checkpoints.strict import arguments_of, load_strictly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance
    from torch import Tensor


class CheckpointedNetwork(nn.Module):
    """A network that its card's arguments and its tensors rebuild."""

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        raise NotImplementedError

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Self:
        """Rebuild the network from `state_dict()` and `config`, frozen and in eval mode.

        Raises `ArchitectureError` if the tensors do not fit.
        """
        return load_strictly(cls(**config), tensors).eval().requires_grad_(False)


class ConfiguredNetwork(CheckpointedNetwork):
    """A network whose constructor arguments are the fields of a dataclass."""

    _config: DataclassInstance

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        return arguments_of(self._config)
