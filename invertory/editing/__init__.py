"""Editing: latents to edited latents. `EDITORS` lists every editor that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from invertory.editing import ganspace, sefa
from invertory.editing.linear import edit

# (w_plus [N, rows, w_dim], normal [rows or 1, w_dim], step, layers) => w_plus. The normal of
# GANSpace is a component, one standard deviation long; that of SeFa is a direction.
EDITORS: Final[dict[str, Callable[..., Tensor]]] = {
    "ganspace": ganspace.edit,
    "linear": edit,
    "sefa": sefa.edit,
}
