"""The renderer of edited latents: generator, scorer and the method's own drawing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from invertory.pipelines.networks.load import load_method, load_method_networks, load_scorer, on

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.ops.render import Renderer
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore


def load_renderer(
    recipe: Recipe,
    models: ModelStore,
    generator: Generator,
    stack: contextlib.ExitStack,
    lease: Lease | None,
    *,
    is_preview: bool = False,
    method: str | None = None,
) -> Renderer:
    """Draws on the leased device and scores as the recipe says, in the size of crops or previews.

    With `method`, latents are drawn by that method.
    """
    from invertory.inversion.drawing import SupportsDraw
    from invertory.ops.render import Renderer

    assert lease is not None
    drawing = load_method(recipe, method) if method else None
    networks: dict[str, nn.Module] = {}
    if method and isinstance(drawing, SupportsDraw):
        networks = load_method_networks(recipe, method, models)
    return Renderer(
        generator=on(generator, lease.device),
        scorer=load_scorer(recipe, models, stack),
        device=lease.device,
        size_px=generator.preview_resolution if is_preview else recipe.alignment.size_px,
        batch_size=lease.batch_size,
        preview=is_preview,
        image_format="jpeg",
        method=drawing,
        networks={kind: on(network, lease.device) for kind, network in networks.items()},
    )
