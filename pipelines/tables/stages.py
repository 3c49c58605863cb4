"""The stages of a recipe: which tables it makes, from what, and which networks take part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from invertory.pipelines.networks.resolve import (
    alignment_networks,
    direction_files,
    generator_networks,
    method_networks,
    networks_of,
    perceptual_name,
    perceptual_networks,
    scoring_networks,
)
from invertory.pipelines.tables.chain import REST, Chain, Input, Stage

if TYPE_CHECKING:
    from invertory.pipelines.recipe.attributes import FittedBoundary, ImportedBoundary
    from invertory.pipelines.recipe.edits import Augmentation
    from invertory.pipelines.recipe.recipe import Recipe

# Raise a number when a change of code changes the table's content.
CODE_VERSIONS: Mapping[str, str] = {
    "models": "1",
    "images": "1",
    "aligned": "2",
    "attributes": "1",
    "samples": "1",
    "latents": "4",
    "boundaries": "1",
    "edits": "1",
    "augmentation": "1",
    "exports": "1",
}


def chain_of(recipe: Recipe) -> Chain:
    """Every stage that `recipe` asks for, in the order of the data."""
    return Chain(recipe.name, tuple(_stages(recipe)))


def _stages(recipe: Recipe) -> Iterator[Stage]:
    yield _images(recipe)
    yield _aligned(recipe)
    if recipe.attributes:
        yield _attributes(recipe)
    for method in recipe.methods:
        yield _latents(recipe, method)
    yield _models(recipe)
    if _sources(recipe) & {"samples"}:
        yield _samples(recipe)
    for method in recipe.methods if recipe.boundaries else ():
        yield _boundaries(recipe, method)
    for method in recipe.methods if recipe.edits else ():
        yield _edits(recipe, method)
    if recipe.augmentation:
        yield _augmentation(recipe, recipe.augmentation)
        yield _exports(recipe, recipe.augmentation)


def _stage(recipe: Recipe, table: str, inputs: tuple[Input, ...], **about: Any) -> Stage:
    return Stage(
        recipe=recipe.name,
        table=table,
        inputs=inputs,
        is_sharded=about.pop("is_sharded", True),
        code_version=CODE_VERSIONS[table.split("/")[0]],
        checks=recipe.config_for("checks"),
        **about,
    )


def _images(recipe: Recipe) -> Stage:
    limits = recipe.config_for("limits")
    return _stage(recipe, "images", (Input(table="entries"),), config=limits)


def _aligned(recipe: Recipe) -> Stage:
    return _stage(
        recipe,
        "aligned",
        (Input(table="images"),),
        config=recipe.config_for("alignment"),
        models=_digests(alignment_networks(recipe)),
        columns={
            "crop_id": ("images.image_id",),
            "image_id": ("images.image_id",),
            REST: ("images.uri",),
        },
    )


def _attributes(recipe: Recipe) -> Stage:
    return _stage(
        recipe,
        "attributes",
        (Input(table="aligned"),),
        config=recipe.config_for("attributes"),
        models=_digests(scoring_networks(recipe)),
        columns={**_same("aligned", "crop_id", "image_id"), REST: ("aligned.crop",)},
    )


def _latents(recipe: Recipe, method: str) -> Stage:
    return _stage(
        recipe,
        f"latents/{method}",
        (Input(table="aligned"),),
        config={
            "method": method,
            "parameters": recipe.methods[method],
            "generator": recipe.config_for("generator"),
            "perceptual": {"name": perceptual_name(recipe)},
            "precision": recipe.methods[method].get("precision", recipe.resources.precision),
        },
        models=_digests(
            generator_networks(recipe),
            perceptual_networks(recipe),
            method_networks(recipe, method),
        ),
        columns={
            **_same("aligned", "crop_id", "image_id"),
            "seed": ("aligned.crop_id",),
            REST: ("aligned.crop",),
        },
    )


def _models(recipe: Recipe) -> Stage:
    return _stage(recipe, "models", (), is_sharded=False, models=_digests(networks_of(recipe)))


def _samples(recipe: Recipe) -> Stage:
    number = max(how.num_samples for how in recipe.boundaries.values() if _source(how) == "samples")
    return _stage(
        recipe,
        "samples",
        (),
        is_sharded=False,
        config={
            "num_samples": number,
            "generator": recipe.config_for("generator"),
            "attributes": _scored(recipe),
        },
        models=_digests(generator_networks(recipe), scoring_networks(recipe)),
    )


def _boundaries(recipe: Recipe, method: str) -> Stage:
    kinds = _sources(recipe)
    inputs = [Input(table="samples")] if "samples" in kinds else []
    if "collection" in kinds:
        inputs.append(Input(table=f"latents/{method}", shards="all"))
        inputs.append(Input(table="attributes", shards="all"))
    latents = ["samples.w"] if "samples" in kinds else []
    latents += [f"latents/{method}.latent"] if "collection" in kinds else []
    return _stage(
        recipe,
        f"boundaries/{method}",
        tuple(inputs),
        is_sharded=False,
        config={"boundaries": recipe.config_for("boundaries"), "method": method},
        models=_digests(direction_files(recipe)),
        columns={REST: tuple(latents)} if latents else {},
    )


def _edits(recipe: Recipe, method: str) -> Stage:
    return _stage(
        recipe,
        f"edits/{method}",
        (Input(table=f"latents/{method}"), Input(table=f"boundaries/{method}")),
        config={
            "edits": recipe.config_for("edits"),
            "size_px": recipe.alignment.size_px,
            "attributes": _scored(recipe),
        },
        columns={
            **_same(f"latents/{method}", "crop_id", "image_id"),
            "edit_id": (f"latents/{method}.crop_id", f"boundaries/{method}.attribute"),
            "attribute": (f"boundaries/{method}.attribute",),
            REST: (f"latents/{method}.latent", f"boundaries/{method}.normal"),
        },
    )


def _augmentation(recipe: Recipe, how: Augmentation) -> Stage:
    method = how.method
    moved = (
        f"latents/{method}.latent",
        f"boundaries/{method}.normal",
        f"boundaries/{method}.offset",
    )
    return _stage(
        recipe,
        f"augmentation/{method}",
        (
            Input(table=f"latents/{method}"),
            Input(table="attributes"),
            Input(table=f"boundaries/{method}"),
        ),
        config={
            "augmentation": recipe.config_for("augmentation"),
            "size_px": recipe.alignment.size_px,
        },
        columns={
            **_same(f"latents/{method}", "crop_id", "image_id"),
            "sample_id": (f"latents/{method}.crop_id",),
            REST: moved,
            "target_label": (f"attributes.score_{how.target}",),
            "protected_label": (f"attributes.score_{how.protected}",),
        },
    )


def _exports(recipe: Recipe, how: Augmentation) -> Stage:
    method = how.method
    return _stage(
        recipe,
        f"exports/{method}",
        (
            Input(table="aligned", shards="all"),
            Input(table="attributes", shards="all"),
            Input(table=f"augmentation/{method}", shards="all"),
            Input(table=f"boundaries/{method}"),
        ),
        is_sharded=False,
        config={
            "export": recipe.config_for("export"),
            "augmentation": recipe.config_for("augmentation"),
            "collection": recipe.config_for("collection"),
        },
        columns={
            **_same("aligned", "crop_id", "image_id", "uri"),
            "pair_id": ("aligned.crop_id",),
            "target_label": (
                f"augmentation/{method}.target_label",
                f"attributes.score_{how.target}",
            ),
            "protected_label": (
                f"augmentation/{method}.protected_label",
                f"attributes.score_{how.protected}",
            ),
            REST: (f"augmentation/{method}.sample_id", "aligned.crop_id"),
        },
    )


def _same(table: str, *columns: str) -> dict[str, tuple[str, ...]]:
    """Columns that are taken over as they are."""
    return {name: (f"{table}.{name}",) for name in columns}


def _scored(recipe: Recipe) -> dict[str, Any]:
    """How those attributes are scored that drawn and edited pictures have too."""
    told = recipe.config_for("attributes")
    return {name: told[name] for name in recipe.scored}


def _source(how: FittedBoundary | ImportedBoundary) -> str | None:
    """Whose scored latents a boundary is fitted or calibrated on."""
    return how.calibrate if how.fit == "import" else how.fit


def _sources(recipe: Recipe) -> set[str | None]:
    return {_source(how) for how in recipe.boundaries.values()}


def _digests(*groups: Mapping[str, Any]) -> dict[str, str]:
    return {name: network.sha256 for group in groups for name, network in group.items()}
