"""What every network of a checkpoint has: its arguments, and how it is loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from torch import nn

from invertory.checkpoints.strict import arguments_of, load_strictly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance
    from torch import Tensor


class CheckpointedNetwork(nn.Module):
    """A network that its card's arguments and its tensors make again."""

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-able."""
        raise NotImplementedError

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Self:
        """From `state_dict()` and `config`; frozen, in eval; raises `ArchitectureError`."""
        return load_strictly(cls(**config), tensors).eval().requires_grad_(False)


class ConfiguredNetwork(CheckpointedNetwork):
    """A network whose constructor's arguments are the fields of a dataclass."""

    _config: DataclassInstance

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-able."""
        return arguments_of(self._config)
