"""The two domains: held-out images, and the networks that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.compare.budgets import CODES_SEED, HELD_OUT_SEED, OOD_SEED, Arm
from benchmarks.compare.families import Family
from benchmarks.compare.judges import REFEREE, classifier_at, distances, referee_at
from invertory.alignment import align_face
from invertory.images import BadImage, decode, to_tensor
from invertory.inversion import METHODS
from invertory.landmarks import YuNetMediaPipe
from invertory.pipelines.collections.demo import photographs
from invertory.pipelines.networks.load import load_generator
from invertory.pipelines.networks.resolve import generator_networks
from invertory.pipelines.recipe.recipe import Recipe
from invertory.portraits import SEGMENTS, Portrait, World, draw, render, row_seed
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

CROP_PX = 256  # of photographs


@dataclass(frozen=True, slots=True)
class PictureSet:
    """A set of images, with the portraits that they show if these are known."""

    name: str
    targets: Tensor  # [N, 3, H, H] in [-1, 1]
    portraits: tuple[Portrait, ...] = ()
    objects: Tensor | None = None  # [N, 1, H, H], 1 at the pixels of objects

    def truth(self, names: Iterable[str]) -> Tensor:
        """[N, A]: the visible attributes, 0 or 1."""
        wanted = list(names)
        return torch.tensor([[p.attributes[n] for n in wanted] for p in self.portraits])

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(slots=True)
class Domain:
    """A generator, the networks that judge its images, and the sets to invert."""

    name: str
    generator: Generator
    loss: Perceptual  # the distance that inversions minimise
    measures: list[Perceptual]
    sets: list[PictureSet]
    recipe: Recipe
    models: ModelStore
    classifier: AttributeClassifier | None = None  # classifier F of the methods and the boundaries
    referee: AttributeClassifier | None = None  # the classifier that scores edits
    codes: PictureSet | None = None  # the set of the semantic analysis
    absent: dict[str, str] = field(default_factory=dict)  # what is unavailable => the remedy
    failed: dict[str, str] = field(default_factory=dict)  # failed arms and analyses => the error
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _families: dict[str, Family] = field(default_factory=dict)

    def family(self, arm: Arm) -> Family:
        """The arm's generator with its networks; raises FileNotFoundError if it is missing."""
        name = arm.generator
        if name not in self._families:
            self._families[name] = (
                Family.named(name, self.recipe, self.models, self.device)
                if name
                else Family("", self.generator, self.recipe, self.models, self.device)
            )
        return self._families[name]

    def networks(self, arm: Arm) -> dict[str, nn.Module] | None:
        """kind => network, on the device; None if one is missing, with the remedy in `absent`.

        If a file exists but cannot be loaded, the reason is in `failed`.
        """
        try:
            return self.family(arm).networks(arm)
        except (FileNotFoundError, ImportError) as error:
            self.absent[arm.name] = str(error)
        except Exception as error:  # any error: the other arms continue
            self.failed[arm.name] = f"{type(error).__name__}: {error}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainOptions:
    """The options of the command line for a domain."""

    generator: str = ""  # address; empty: the recipe's default
    classifier: str = "portraits_classifier"
    referee: str = REFEREE
    perceptual: str = "auto"
    num: int = 64
    num_ood: int = 32
    num_codes: int = 200
    crops: Path | None = None
    device: str = "cpu"


def portraits(options: DomainOptions, models: ModelStore) -> Domain:
    """Held-out portraits: one set like those of the trainings, one with foreign objects."""
    absent: dict[str, str] = {}
    domain = _domain("portraits", "portraits", options, models, absent)
    px = domain.generator.resolution
    ood = World(ood=1.0)
    domain.sets = [
        drawn("portraits", options.num, HELD_OUT_SEED, World(), px),
        drawn("portraits_ood", options.num_ood, OOD_SEED, ood, px),
    ]
    domain.codes = drawn("codes", options.num_codes, CODES_SEED, World(), px)
    domain.classifier = classifier_at(options.classifier, models, absent, domain.device)
    domain.referee = referee_at(options.referee, domain.classifier, models, absent, domain.device)
    return domain


def faces(options: DomainOptions, models: ModelStore) -> Domain:
    """Photographs: those of the demo, aligned, or crops from a folder."""
    absent: dict[str, str] = {}
    domain = _domain("faces", "mobile_stylegan", options, models, absent)
    crops = folder_crops(options.crops) if options.crops else demo_crops(models)
    if not crops:
        where = options.crops or "the demo's photographs"
        raise SystemExit(
            f"expected a face in {where}, got none; name a folder of crops with --crops"
        )
    domain.sets = [PictureSet("photographs", torch.cat(crops[: options.num]))]
    absent["editability of photographs"] = (
        "needs true counterfactuals and a classifier of photographs, which do not exist; "
        "`--domain portraits` measures edits"
    )
    return domain


def drawn(name: str, num: int, seed: int, world: World, px: int) -> PictureSet:
    """Images in [-1, 1], the portraits that they show, and the masks of objects."""
    people = tuple(draw(row_seed(seed, i), world) for i in range(num))
    renderings = [render(person, px) for person in people]
    if not renderings:
        return PictureSet(name, torch.zeros(0, 3, px, px))
    shown = np.stack([r.segmentation for r in renderings]) == SEGMENTS.index("ood")
    objects = torch.from_numpy(shown)[:, None].float()
    return PictureSet(name, to_tensor([r.image for r in renderings]), people, objects)


def images_of(people: Iterable[Portrait], px: int) -> Tensor:
    """[N, 3, px, px] in [-1, 1]."""
    images = [render(person, px).image for person in people]
    return to_tensor(images) if images else torch.zeros(0, 3, px, px)


def folder_crops(folder: Path) -> list[Tensor]:
    """All image files of the folder, without alignment; other files are skipped."""
    found = []
    for path in sorted(folder.iterdir()):
        try:
            pixels = decode(path.read_bytes()).pixels
        except (BadImage, OSError):
            continue
        image = to_tensor(pixels)
        found.append(nn.functional.interpolate(image, (CROP_PX, CROP_PX), mode="area"))
    return found


def demo_crops(models: ModelStore) -> list[Tensor]:
    """The largest face in each photograph of the demo."""
    cards = [PINNED[name] for name in ("yunet", "face-landmarker")]
    weights = [models.fetch(card.source, card.sha256) for card in cards]
    found = []
    with YuNetMediaPipe(*weights) as detector:
        for path in sorted(photographs(models).iterdir()):
            if not path.is_file():
                continue  # the folder of broken files
            pixels = decode(path.read_bytes()).pixels
            if seen := detector.detect(pixels):
                crop = align_face(pixels, seen[0].anchors, size_px=CROP_PX)
                found.append(to_tensor(crop.pixels))
    return found


def _domain(
    name: str, generator: str, options: DomainOptions, models: ModelStore, absent: dict[str, str]
) -> Domain:
    choice: dict[str, Any] = {"name": generator}
    if options.generator:
        choice["weights"] = options.generator
    recipe = Recipe.model_validate(
        {
            "name": "compare",
            "collection": {"uri": "portraits://?num=1"},
            "generator": choice,
            "perceptual": {"name": options.perceptual},
            "methods": {method: {} for method in METHODS},  # arms set their own parameters
        }
    )
    models = ModelStore()
    missing = [n.missing for n in generator_networks(recipe, models).values() if n.missing]
    if missing:
        raise SystemExit(f"the generator of {name} is unavailable: {'; '.join(missing)}")
    device = torch.device(options.device)
    G = cast("Any", load_generator(recipe, models)).to(device)
    loss, measures = distances(recipe, models, absent, device)
    return Domain(name, G, loss, measures, [], recipe, models, absent=absent, device=device)


DOMAINS: Mapping[str, Any] = {"portraits": portraits, "faces": faces}
