"""Which networks a recipe needs, as cards: where each comes from and which digest it has.

`networks_of` lists every file that a recipe needs. A run fetches and verifies them all before it
computes anything, so that a missing one stops it at once. `networks.load` loads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.errors.exit_codes import NO_WEIGHTS
from invertory.pipelines.errors.explain import explain_error
from invertory.pipelines.networks.generators import source_of
from invertory.resources.addresses import expanded
from invertory.resources.archives import digest as file_digest
from invertory.resources.pinned import PINNED, ModelCard

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore

# A recipe's word for LPIPS => the card of the network below it.
TRUNKS = {"lpips_alex": "lpips-alexnet", "lpips_vgg": "lpips-vgg16"}
# Bundled networks whose features are a perceptual distance; the first one stands in for LPIPS.
FEATURE_NETWORKS = ("portraits_classifier", "portraits_discriminator")
DETECTORS = {"yunet_mediapipe": ("yunet", "face-landmarker"), "dlib": ("dlib-68",)}
CARDED = ("bundled://", "trained://")
MESH = ".task"  # suffix of MediaPipe's bundle, whose face mesh serves as a parser
# A method with an encoder's name takes that encoder; the other methods prefer the last of these.
ENCODERS = ("conventional_encoder", "domain_guided_encoder")
Received = Callable[[str, int, int | None], None]


class WeightsError(RuntimeError):
    """A network's file is missing, or differs from the one that the recipe names."""

    exit_code = NO_WEIGHTS


@dataclass(frozen=True, slots=True)
class Network:
    """A file that a recipe needs. A remote file that is not pinned has an empty `sha256`.

    `missing` is the reason and the remedy where no such file exists, and otherwise empty.
    """

    card: ModelCard
    missing: str = ""

    @property
    def sha256(self) -> str:
        return self.card.sha256


def networks_of(recipe: Recipe, models: ModelStore) -> dict[str, Network]:
    """Every network that the recipe uses, by name."""
    networks = (
        alignment_networks(recipe)
        | generator_networks(recipe, models)
        | perceptual_networks(recipe, models)
        | scoring_networks(recipe, models)
        | direction_files(recipe, models)
    )
    for method in recipe.methods:
        for network in method_networks(recipe, method, models).values():
            networks[network.card.name] = network
    return networks


def prefetch(recipe: Recipe, models: ModelStore, received: Received) -> None:
    """Fetch every file before any work starts; raises `WeightsError` where one is unavailable."""
    for name, network in networks_of(recipe, models).items():
        source, sha256 = network.card.source, network.card.sha256
        if network.missing:
            raise WeightsError(f"{name} is unavailable: {network.missing}")
        pinned = None if source.startswith(CARDED) else sha256 or None
        try:
            models.fetch_all(source, pinned, progress=received)
        except Exception as error:  # clients of object stores have exceptions of their own
            text = f"{name} is unavailable: {explain_error(error, source)}{_way_out(name)}"
            raise WeightsError(text) from error


def cards_of(recipe: Recipe, models: ModelStore) -> list[dict[str, Any]]:
    """Rows of the table `models`."""
    return [asdict(network.card) for _, network in sorted(networks_of(recipe, models).items())]


def alignment_networks(recipe: Recipe) -> dict[str, Network]:
    if recipe.alignment.kind != "ffhq":
        return {}
    return _pinned(*DETECTORS[recipe.alignment.detector])


def generator_networks(recipe: Recipe, models: ModelStore) -> dict[str, Network]:
    """The generator's weights and the networks that come with it."""
    choice, source = recipe.generator, source_of(recipe.generator.name)
    if source.takes_options:
        return {}
    if choice.weights:
        weights = _named("generator", "generator", choice.weights, choice.sha256, models)
        return {"generator": weights} | _carded(source.also, models)
    names = (source.weights, *source.also) if source.weights else source.also
    return _carded(names, models)


def generator_card(recipe: Recipe, models: ModelStore) -> ModelCard:
    """The card of the generator's weights; a local file is not read for its digest.

    Raises KeyError where the recipe names no weights and the generator has no default.
    """
    choice, source = recipe.generator, source_of(recipe.generator.name)
    if choice.weights:
        return _named("generator", "generator", choice.weights, "", models).card
    if not source.weights:
        raise KeyError(f"generator {choice.name!r} has no default weights; name their address")
    return _carded((source.weights,), models)[source.weights].card


def perceptual_name(recipe: Recipe, models: ModelStore) -> str:
    """The recipe's distance; `auto` is LPIPS where the store has or may fetch it, else features."""
    name = recipe.perceptual.name
    if name != "auto":
        return name
    card = PINNED[TRUNKS["lpips_alex"]]
    if models.is_available_offline(card) or not models.is_offline():
        return "lpips_alex"
    available = (
        n for n, network in _carded(FEATURE_NETWORKS, models).items() if not network.missing
    )
    return next(available, "lpips_alex")


def perceptual_networks(recipe: Recipe, models: ModelStore) -> dict[str, Network]:
    """The network below the perceptual distance, where it has one."""
    name = perceptual_name(recipe, models)
    if name in TRUNKS:
        return _pinned(TRUNKS[name])
    return _carded((name,), models) if name in FEATURE_NETWORKS else {}


def scoring_networks(recipe: Recipe, models: ModelStore) -> dict[str, Network]:
    """Classifiers, and the user's tables of labels."""
    networks: dict[str, Network] = {}
    for name, how in recipe.attributes.items():
        if how.scorer == "mediapipe":
            networks |= _pinned("face-landmarker")
        elif how.scorer == "labels":
            if how.uri:
                label = f"labels_{name}"
                networks[label] = _named(label, "labels", how.uri, how.sha256, models)
        elif how.scorer == "classifier":
            network = _named(f"scorer_{name}", "classifier", how.weights, how.sha256, models)
            networks[network.card.name] = network
        else:
            label = f"scorer_{name}"
            networks[label] = _named(label, "scorer", how.uri, how.sha256, models)
    return networks


def direction_files(recipe: Recipe, models: ModelStore) -> dict[str, Network]:
    """Imported boundaries and directions."""
    return {
        f"direction_{name}": _named(f"direction_{name}", "direction", how.uri, None, models)
        for name, how in recipe.boundaries.items()
        if how.fit == "import"
    }


def method_networks(recipe: Recipe, name: str, models: ModelStore) -> dict[str, Network]:
    """kind => the network of that kind which the method `name` of the recipe needs."""
    return {
        kind: fitting(recipe, name, kind, models)
        if address == "auto"
        else _named(f"{name}_{kind}", kind, address, None, models)
        for kind, address in recipe.network_addresses(name).items()
    }


def fitting(recipe: Recipe, method: str, kind: str, models: ModelStore) -> Network:
    """The network of `kind` whose card says that it was made for the recipe's generator."""
    generators = _generator_names(recipe, models)
    stems = {name.removesuffix("_generator") for name in generators}
    candidates = [
        card
        for card in models.cards()
        if card.kind == kind
        and not (method in ENCODERS and card.name.endswith(_others(method)))
        and (
            _plain(card.generator) in generators
            or (not card.generator and card.name in {f"{stem}_{kind}" for stem in stems})
        )
    ]
    if not candidates:
        return _absent(recipe, method, kind)

    def rank(card: ModelCard) -> tuple[bool, bool, bool, str]:
        is_trained = card.source.startswith("trained://")
        is_own, is_last = card.name.endswith(method), card.name.endswith(ENCODERS[-1])
        return is_trained, not is_own, not is_last, card.name

    return Network(min(candidates, key=rank))


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


def _generator_names(recipe: Recipe, models: ModelStore) -> set[str]:
    """Every name by which a card may call the recipe's generator."""
    choice = recipe.generator
    networks = generator_networks(recipe, models).values()
    cards = {n.card.name for n in networks} - {"generator", *source_of(choice.name).also}
    weights = {choice.weights} if choice.weights else set()
    return {_plain(name) for name in cards | weights | {choice.name}}


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _pinned(*names: str) -> dict[str, Network]:
    return {name: Network(PINNED[name]) for name in names}


def _carded(names: Iterable[str], models: ModelStore) -> dict[str, Network]:
    """Pinned or bundled networks by name."""
    return {
        name: Network(PINNED[name])
        if name in PINNED
        else _by_card(f"bundled://{name}", name, "", None, models)
        for name in names
    }


def _by_card(uri: str, name: str, kind: str, sha256: str | None, models: ModelStore) -> Network:
    """A bundled or trained network, missing where it has no card or another digest."""
    try:
        card = models.card(uri)
    except (OSError, ValueError) as error:
        text = f"{error}; `invertory train {uri.partition('://')[2]}` makes it"
        return Network(_bare_card(name, kind, uri, ""), missing=text)
    if sha256 and card.sha256 != sha256:
        text = f"expected {uri} to have sha256 {sha256}, got a card with {card.sha256 or 'none'}"
        return Network(card, missing=f"{text}; correct the recipe, or name the file itself")
    return Network(card)


def _way_out(name: str) -> str:
    """A choice that does without the network."""
    if name in PINNED and PINNED[name].kind == "parser":
        return "; `methods: {sam: {choice: pixels}}` needs none"
    if name not in TRUNKS.values():
        return ""
    return f"; `perceptual: {{name: {FEATURE_NETWORKS[0]}}}` needs no download"


def _named(name: str, kind: str, uri: str, sha256: str | None, models: ModelStore) -> Network:
    """The network at an address of the recipe; a local file that is not pinned is digested."""
    if uri in PINNED:
        return Network(PINNED[uri])
    if uri.startswith(CARDED):
        return _by_card(uri, name, kind, sha256, models)
    path = Path(expanded(uri))
    if sha256 is None and "://" not in uri and path.is_file():
        sha256 = file_digest(path)
    return Network(_bare_card(name, kind, uri, sha256 or ""))


def _bare_card(name: str, kind: str, uri: str, sha256: str) -> ModelCard:
    return ModelCard(name, kind, uri, sha256, "{}", "not stated", "named by the recipe")
