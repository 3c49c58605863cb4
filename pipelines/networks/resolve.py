"""The networks of a recipe: which files it needs, where they come from, which digests they have.

`networks_of` names every file a recipe needs before anything runs; each is fetched and checked
first, so that a missing one stops a run before it has begun. `networks.load` loads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.errors.exit_codes import NO_WEIGHTS
from invertory.pipelines.errors.explain import explain_error
from invertory.resources.addresses import expanded
from invertory.resources.archives import digest as file_digest
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED, ModelCard

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe

PREVIEW_HEAD = "mobile_stylegan_preview"
# A recipe's word for a generator => the card of its weights, where the recipe names none.
DEFAULT_WEIGHTS = {"mobile_stylegan": "mobile-stylegan-ffhq", "portraits": "portraits_generator"}
TRUNKS = {"lpips_alex": "lpips-alexnet", "lpips_vgg": "lpips-vgg16"}
# Perceptual words that are networks of ours; the first that there is stands in for LPIPS.
FEATURES = ("portraits_classifier", "portraits_discriminator")
DETECTORS = {"yunet_mediapipe": ("yunet", "face-landmarker"), "dlib": ("dlib-68",)}
CARDED = ("bundled://", "trained://")
MESH = ".task"  # of a parser: MediaPipe's bundle, whose mesh gives the segments
# A method that is called as an encoder takes its own; of several, the others take the last.
ENCODERS = ("conventional_encoder", "domain_guided_encoder")
Received = Callable[[str, int, int | None], None]


class WeightsError(RuntimeError):
    """A network's file is missing or another than the one that was asked for."""

    exit_code = NO_WEIGHTS


@dataclass(frozen=True, slots=True)
class Network:
    """A file that a recipe needs; `sha256` is empty until a local file is looked at.

    `missing` says what is wrong, and the remedy, where it is known that there is no such file.
    """

    card: ModelCard
    missing: str = ""

    @property
    def sha256(self) -> str:
        return self.card.sha256


def networks_of(recipe: Recipe) -> dict[str, Network]:
    """Every network that takes part, by name."""
    found = (
        alignment_networks(recipe)
        | generator_networks(recipe)
        | perceptual_networks(recipe)
        | scoring_networks(recipe)
        | direction_files(recipe)
    )
    for method in recipe.methods:
        for network in method_networks(recipe, method).values():
            found[network.card.name] = network
    return found


def prefetch(recipe: Recipe, models: ModelStore, received: Received) -> None:
    """Fetch every file before any work starts; raises `WeightsError` where one is unavailable."""
    for name, network in networks_of(recipe).items():
        source, sha256 = network.card.source, network.card.sha256
        if network.missing:
            raise WeightsError(f"{name} is unavailable: {network.missing}")
        pinned = None if source.startswith(CARDED) else sha256 or None
        try:
            models.fetch_all(source, pinned, progress=received)
        except Exception as error:  # clients of object stores have exceptions of their own
            text = f"{name} is unavailable: {explain_error(error, source)}{_way_out(name)}"
            raise WeightsError(text) from error


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
    if choice.weights:
        found = {"generator": _own("generator", "generator", choice.weights, choice.sha256)}
    else:
        found = _carded(DEFAULT_WEIGHTS[choice.name])
    if choice.name == "mobile_stylegan":
        found |= _carded(PREVIEW_HEAD)
    return found


def generator_card(recipe: Recipe) -> ModelCard:
    """The card of the generator's weights, without a look at the file."""
    choice = recipe.generator
    if choice.weights:
        return _own("generator", "generator", choice.weights, "").card
    name = DEFAULT_WEIGHTS[choice.name]
    return _carded(name)[name].card


def perceptual_name(recipe: Recipe) -> str:
    """The recipe's word; for `auto` LPIPS where it is at hand or may be fetched, else features."""
    name = recipe.perceptual.name
    if name != "auto":
        return name
    models, card = ModelStore(), PINNED[TRUNKS["lpips_alex"]]
    if models.is_available_offline(card) or not models.is_offline():
        return "lpips_alex"
    return next((word for word in FEATURES if not _carded(word)[word].missing), "lpips_alex")


def perceptual_networks(recipe: Recipe) -> dict[str, Network]:
    name = perceptual_name(recipe)
    if name in TRUNKS:
        return _pinned(TRUNKS[name])
    return _carded(name) if name in FEATURES else {}


def scoring_networks(recipe: Recipe) -> dict[str, Network]:
    """Classifiers, and the tables of labels that a user brings."""
    found: dict[str, Network] = {}
    for name, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            found |= _pinned("face-landmarker")
        elif how.scorer == "labels":
            if how.uri:
                found[f"labels_{name}"] = _own(f"labels_{name}", "labels", how.uri, how.sha256)
        elif how.scorer == "classifier":
            network = _own(f"scorer_{name}", "classifier", how.weights, how.sha256)
            found[network.card.name] = network
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


def method_networks(recipe: Recipe, name: str) -> dict[str, Network]:
    """kind => the network of that kind which the method `name` of the recipe needs."""
    method = recipe.method(name)
    wanted = {kind: getattr(method, kind, "auto") for kind in getattr(method, "needs", ())}
    return {
        kind: fitting(recipe, name, kind)
        if address == "auto"
        else _own(f"{name}_{kind}", kind, address, None)
        for kind, address in wanted.items()
    }


def fitting(recipe: Recipe, method: str, kind: str) -> Network:
    """The network of `kind` whose card says that it was made for the recipe's generator."""
    generators = _generator_names(recipe)
    stems = {name.removesuffix("_generator") for name in generators}
    found = [
        card
        for card in ModelStore().cards()
        if card.kind == kind
        and not (method in ENCODERS and card.name.endswith(_others(method)))
        and (
            _plain(card.generator) in generators
            or (not card.generator and card.name in {f"{stem}_{kind}" for stem in stems})
        )
    ]
    if not found:
        return _absent(recipe, method, kind)

    def rank(card: ModelCard) -> tuple[bool, bool, bool, str]:
        is_trained = card.source.startswith("trained://")
        is_own, is_last = card.name.endswith(method), card.name.endswith(ENCODERS[-1])
        return is_trained, not is_own, not is_last, card.name

    return Network(min(found, key=rank))


def _others(method: str) -> tuple[str, ...]:
    return tuple(name for name in ENCODERS if name != method)


def _absent(recipe: Recipe, method: str, kind: str) -> Network:
    generator = recipe.generator.name
    text = (
        f"expected a network of kind {kind!r} made for the generator {generator!r}, got no card of "
        f"one; train one (`invertory train --help` lists the trainings) or name its address: "
        f"methods: {{{method}: {{{kind}: trained://NAME}}}}"
    )
    return Network(_bare_card(f"{method}_{kind}", kind, "", ""), missing=text)


def _generator_names(recipe: Recipe) -> set[str]:
    """Every name by which a card may call the recipe's generator."""
    choice = recipe.generator
    cards = {n.card.name for n in generator_networks(recipe).values()} - {PREVIEW_HEAD, "generator"}
    weights = {choice.weights} if choice.weights else set()
    return {_plain(name) for name in cards | weights | {choice.name}}


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _pinned(*names: str) -> dict[str, Network]:
    return {name: Network(PINNED[name]) for name in names}


def _carded(*names: str) -> dict[str, Network]:
    """Pinned networks, or bundled ones."""
    return {
        name: Network(PINNED[name]) if name in PINNED else _by_card(f"bundled://{name}", name)
        for name in names
    }


def _by_card(uri: str, name: str, kind: str = "", sha256: str | None = None) -> Network:
    """A bundled or trained network, missing where it has no card or another digest."""
    try:
        card = ModelStore().card(uri)
    except (OSError, ValueError) as error:
        text = f"{error}; `invertory train {uri.partition('://')[2]}` makes it"
        return Network(_bare_card(name, kind, uri, ""), missing=text)
    if sha256 and card.sha256 != sha256:
        text = f"expected {uri} to have sha256 {sha256}, got a card with {card.sha256 or 'none'}"
        return Network(card, missing=f"{text}; correct the recipe, or name the file itself")
    return Network(card)


def _way_out(name: str) -> str:
    """What does without a network that could not be fetched."""
    if name in PINNED and PINNED[name].kind == "parser":
        return "; `methods: {sam: {choice: pixels}}` needs none"
    if name not in TRUNKS.values():
        return ""
    return f"; `perceptual: {{name: {FEATURES[0]}}}` needs no download"


def _own(name: str, kind: str, uri: str, sha256: str | None) -> Network:
    """A network of the user's, or a carded one: its digest is taken from the file where it can."""
    if uri in PINNED:
        return Network(PINNED[uri])
    if uri.startswith(CARDED):
        return _by_card(uri, name, kind, sha256)
    path = Path(expanded(uri))
    if sha256 is None and "://" not in uri and path.is_file():
        sha256 = file_digest(path)
    return Network(_bare_card(name, kind, uri, sha256 or ""))


def _bare_card(name: str, kind: str, uri: str, sha256: str) -> ModelCard:
    return ModelCard(name, kind, uri, sha256, "{}", "not stated", "named by the recipe")
