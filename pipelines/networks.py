"""The networks of a recipe: where their weights come from, and how they are loaded.

`networks_of` names every file a recipe needs before anything runs; each is fetched and checked
first, so that a missing one stops a run before it has begun.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resources.archives import digest as file_digest
from resources.pinned import PINNED, ModelCard

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.inversion import Method
    from invertory.scoring import Scorer
    from ops.streams import Verb
    from pipelines.recipe import Recipe
    from resources.models import ModelStore

PREVIEW_HEAD = "mobile_stylegan_preview"
DEFAULT_WEIGHTS = {"mobile_stylegan": "mobile-stylegan-ffhq"}
TRUNKS = {"lpips_alex": "lpips-alexnet", "lpips_vgg": "lpips-vgg16"}
DETECTORS = {"yunet_mediapipe": ("yunet", "face-landmarker"), "dlib": ("dlib-68",)}
Received = Callable[[str, int, int | None], None]


class WeightsError(RuntimeError):
    """A network's file is missing or another than the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Network:
    """A file that a recipe needs; `sha256` is None until a local file is looked at."""

    card: ModelCard

    @property
    def sha256(self) -> str:
        return self.card.sha256


def networks_of(recipe: Recipe) -> dict[str, Network]:
    """Every network that takes part, by name."""
    return (
        alignment_networks(recipe)
        | generator_networks(recipe)
        | perceptual_networks(recipe)
        | scoring_networks(recipe)
        | direction_files(recipe)
    )


def prefetch(recipe: Recipe, models: ModelStore, received: Received) -> None:
    """Have every file at hand before any work starts; raises `WeightsError` where one is not."""
    for name, network in networks_of(recipe).items():
        source, sha256 = network.card.source, network.card.sha256
        pinned = None if source.startswith("bundled://") else sha256 or None
        try:
            models.fetch_all(source, pinned, progress=received)
        except (OSError, ValueError, ImportError) as error:
            raise WeightsError(f"{name} cannot be had: {error}") from error


def cards_of(recipe: Recipe) -> list[dict[str, Any]]:
    """Rows of the table `models`."""
    return [asdict(network.card) for _, network in sorted(networks_of(recipe).items())]


def alignment_networks(recipe: Recipe) -> dict[str, Network]:
    if recipe.alignment.kind != "ffhq":
        return {}
    return _pinned(*DETECTORS[recipe.alignment.detector])


def generator_networks(recipe: Recipe) -> dict[str, Network]:
    """The generator's weights and, for MobileStyleGAN, the preview head."""
    choice = recipe.generator
    if choice.name == "toy":
        return {}
    found = {} if choice.weights else _pinned(DEFAULT_WEIGHTS[choice.name])
    if choice.weights:
        found["generator"] = _own("generator", "generator", choice.weights, choice.sha256)
    if choice.name == "mobile_stylegan":
        uri = f"bundled://{PREVIEW_HEAD}"
        found[PREVIEW_HEAD] = _own(PREVIEW_HEAD, "generator", uri, None)
    return found


def perceptual_networks(recipe: Recipe) -> dict[str, Network]:
    name = recipe.perceptual.name
    return _pinned(TRUNKS[name]) if name in TRUNKS else {}


def scoring_networks(recipe: Recipe) -> dict[str, Network]:
    found: dict[str, Network] = {}
    for name, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            found |= _pinned("face-landmarker")
        else:
            found[f"scorer_{name}"] = _own(f"scorer_{name}", "scorer", how.uri, how.sha256)
    return found


def direction_files(recipe: Recipe) -> dict[str, Network]:
    """Imported boundaries and directions."""
    return {
        f"direction_{name}": _own(f"direction_{name}", "direction", how.uri, None)
        for name, how in recipe.boundaries.items()
        if how.fit == "import"
    }


def load_generator(recipe: Recipe, models: ModelStore) -> Generator:
    """The recipe's generator, frozen, on the CPU."""
    choice = recipe.generator
    if choice.name == "toy":
        from invertory.generators.toy import ToyGenerator

        return ToyGenerator(**choice.options)
    network = next(n for n in generator_networks(recipe).values() if n.card.name != PREVIEW_HEAD)
    files = models.fetch_all(network.card.source, network.sha256 or None)
    if choice.name == "mobile_stylegan":
        return _mobile_stylegan({path.name: path for path in files}, models)
    return _stylegan2(files[0])


def load_method(recipe: Recipe, name: str) -> Method:
    """The method with the recipe's parameters and precision."""
    method = recipe.method(name)
    precision = {"bfloat16": "bf16"}.get(recipe.resources.precision, recipe.resources.precision)
    return replace(method, precision=precision) if hasattr(method, "precision") else method


def load_perceptual(recipe: Recipe, models: ModelStore) -> Any:
    """The recipe's perceptual distance, on the CPU."""
    from invertory.perceptual import Lpips, PixelPyramid

    name = recipe.perceptual.name
    if name == "pixels":
        return PixelPyramid()
    card = PINNED[TRUNKS[name]]
    return Lpips("alex" if name == "lpips_alex" else "vgg", models.fetch(card.source, card.sha256))


def load_alignment(
    recipe: Recipe, models: ModelStore, read: Callable[[str], bytes], stack: contextlib.ExitStack
) -> Verb:
    """The verb that makes crops; detectors close with `stack`."""
    from ops.align import Align, CentreCrop

    how, limits = recipe.alignment, recipe.limits
    if how.kind == "centre":
        return CentreCrop(read, how.size_px, crop_format=how.format, max_pixels=limits.max_pixels)
    return Align(
        read,
        _detector(recipe, models, stack),
        how.size_px,
        faces=how.faces,
        max_faces=how.max_faces,
        min_face_px=how.min_face_px,
        transform_size=how.transform_size,
        crop_format=how.format,
        max_pixels=limits.max_pixels,
    )


def load_scorer(recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack) -> Scorer:
    """One scorer that gives every attribute of the recipe; it closes with `stack`."""
    from invertory.scoring import Panel

    return Panel(dict(_scorers(recipe, models, stack)))


def load_direction(uri: str, models: ModelStore, component: int | None) -> Any:
    from invertory.editing.directions import read_direction

    return read_direction(models.fetch(uri), component=component)


def on(network: Any, device: Any) -> Any:
    """The network on the device; what has no weights stays as it is."""
    return network.to(device) if hasattr(network, "to") else network


def _scorers(
    recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack
) -> Iterator[tuple[str, tuple[Scorer, str]]]:
    """attribute => (scorer, its name for the attribute)."""
    from invertory.scoring import FaceScorer, OnnxScorer, Reading, TorchScorer

    names = {n: how.score or n for n, how in recipe.attributes.items() if how.scorer == "mediapipe"}
    if names:
        card = PINNED["face-landmarker"]
        weights = models.fetch(card.source, card.sha256)
        face = stack.enter_context(FaceScorer(weights, sorted(set(names.values()))))
        yield from ((attribute, (face, score)) for attribute, score in names.items())
    for attribute, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            continue
        reading = Reading(
            outputs={attribute: how.output},
            size_px=how.size_px,
            mean=how.mean,
            std=how.std,
            channels=how.channels,
            activation=how.activation,
        )
        kind = OnnxScorer if how.scorer == "onnx" else TorchScorer
        yield attribute, (kind(models.fetch(how.uri, how.sha256), reading), attribute)


def _detector(recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack) -> Any:
    from invertory.landmarks import Dlib, YuNetMediaPipe

    cards = [PINNED[name] for name in DETECTORS[recipe.alignment.detector]]
    files = [models.fetch(card.source, card.sha256) for card in cards]
    if recipe.alignment.detector == "dlib":
        return Dlib(files[0])
    return stack.enter_context(YuNetMediaPipe(files[0], files[1]))


def _mobile_stylegan(files: dict[str, Path], models: ModelStore) -> Generator:
    """From the package's OpenVINO files, or from safetensors and JSON written by `state_dict`."""
    from safetensors.torch import load_file

    from invertory.generators.mobile_stylegan import MobileStyleGAN
    from invertory.generators.preview import heads_from

    names = [f"{n}Network.{s}" for n in ("Mapping", "Synthesis") for s in ("xml", "bin")]
    if names[0] in files:
        generator = MobileStyleGAN.from_openvino(*(files[name].read_bytes() for name in names))
    else:
        (weights,) = files.values()
        config = json.loads(weights.with_suffix(".json").read_text())
        generator = MobileStyleGAN.load(load_file(weights), config)
    head = models.fetch(f"bundled://{PREVIEW_HEAD}")
    return generator.attach_preview(*heads_from(load_file(head)))


def _stylegan2(path: Path) -> Generator:
    """From safetensors in NVIDIA's layout with the generator's arguments beside them as JSON."""
    from safetensors.torch import load_file

    from invertory.generators.stylegan2 import StyleGAN2

    config = path.with_suffix(".json")
    if not config.is_file():
        raise FileNotFoundError(
            f"expected the generator's arguments in {config}, got no such file; write them as "
            'JSON: {"img_resolution": 256, "w_dim": 512, ...}'
        )
    return cast("Generator", StyleGAN2.load(load_file(path), json.loads(config.read_text())))


def _pinned(*names: str) -> dict[str, Network]:
    return {name: Network(PINNED[name]) for name in names}


def _own(name: str, kind: str, uri: str, sha256: str | None) -> Network:
    """A network of the user's, or a bundled one: its digest is taken from the file where it can."""
    from resources.models import bundled_card

    if uri.startswith("bundled://"):
        card = bundled_card(uri.removeprefix("bundled://"))
        return Network(replace(card, kind=kind, sha256=card.sha256 or ""))
    if sha256 is None and "://" not in uri and Path(uri).is_file():
        sha256 = file_digest(Path(uri))
    return Network(
        ModelCard(name, kind, uri, sha256 or "", "{}", "not stated", "named by the recipe")
    )
