"""Editing: latents to moved latents. `EDITORS` names every editor a recipe may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from invertory.editing.linear import edit

# (w_plus [N, rows, w_dim], normal [rows or 1, w_dim], step, layers) => w_plus
EDITORS: Final[dict[str, Callable[..., Tensor]]] = {"linear": edit}
