"""Editing: latents to moved latents. `EDITORS` names every editor a recipe may ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from invertory.editing import ganspace, sefa
from invertory.editing.linear import edit

# (w_plus [N, rows, w_dim], normal [rows or 1, w_dim], step, layers) => w_plus; GANSpace's normal is
# a component one deviation long, SeFa's a direction
EDITORS: Final[dict[str, Callable[..., Tensor]]] = {
    "ganspace": ganspace.edit,
    "linear": edit,
    "sefa": sefa.edit,
}
