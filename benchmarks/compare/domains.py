"""The two domains: pictures that no training saw, and the networks that take part."""

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
from invertory.images import BadPicture, decode, to_tensor
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
    """Pictures, and who they show where that is known."""

    name: str
    targets: Tensor  # [N, 3, H, H] in [-1, 1]
    portraits: tuple[Portrait, ...] = ()
    objects: Tensor | None = None  # [N, 1, H, H], 1 where the picture shows an object

    def truth(self, names: Iterable[str]) -> Tensor:
        """[N, A]: visible attributes."""
        wanted = list(names)
        return torch.tensor([[p.attributes[n] for n in wanted] for p in self.portraits])

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(slots=True)
class Domain:
    """A generator, what judges its pictures, and the sets to be inverted."""

    name: str
    generator: Generator
    loss: Perceptual  # what inversions minimise
    measures: list[Perceptual]
    sets: list[PictureSet]
    recipe: Recipe
    classifier: AttributeClassifier | None = None  # the F of the methods and of the boundaries
    referee: AttributeClassifier | None = None  # scores edits
    codes: PictureSet | None = None  # for the semantic analysis
    absent: dict[str, str] = field(default_factory=dict)  # what is not at hand => the remedy
    failed: dict[str, str] = field(default_factory=dict)  # arms and analyses that broke => how
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _families: dict[str, Family] = field(default_factory=dict)

    def family(self, arm: Arm) -> Family:
        """The arm's generator with its networks; raises FileNotFoundError where it lacks."""
        name = arm.generator
        if name not in self._families:
            self._families[name] = (
                Family.named(name, self.recipe, self.device)
                if name
                else Family("", self.generator, self.recipe, self.device)
            )
        return self._families[name]

    def networks(self, arm: Arm) -> dict[str, nn.Module] | None:
        """kind => network, on the device; None, and a line in `absent`, where one is missing.

        One that lies there and cannot be loaded has its line in `failed`.
        """
        try:
            return self.family(arm).networks(arm)
        except (FileNotFoundError, ImportError) as error:
            self.absent[arm.name] = str(error)
        except Exception as error:  # whatever it is, other arms go on
            self.failed[arm.name] = f"{type(error).__name__}: {error}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of a domain."""

    generator: str = ""  # address; empty: the recipe's own
    classifier: str = "portraits_classifier"
    referee: str = REFEREE
    perceptual: str = "auto"
    num: int = 64
    num_ood: int = 32
    num_codes: int = 200
    crops: Path | None = None
    device: str = "cpu"


def portraits(asked: Asked) -> Domain:
    """Portraits of seeds that no training used: the trainings' world, and one with objects."""
    absent: dict[str, str] = {}
    domain = _domain("portraits", "portraits", asked, absent)
    px = domain.generator.resolution
    ood = World(ood=1.0)
    domain.sets = [
        drawn("portraits", asked.num, HELD_OUT_SEED, World(), px),
        drawn("portraits_ood", asked.num_ood, OOD_SEED, ood, px),
    ]
    domain.codes = drawn("codes", asked.num_codes, CODES_SEED, World(), px)
    domain.classifier = classifier_at(asked.classifier, absent, domain.device)
    domain.referee = referee_at(asked.referee, domain.classifier, absent, domain.device)
    return domain


def faces(asked: Asked) -> Domain:
    """Photographs: the demo's, aligned, or crops from a folder."""
    absent: dict[str, str] = {}
    domain = _domain("faces", "mobile_stylegan", asked, absent)
    crops = folder_crops(asked.crops) if asked.crops else demo_crops()
    if not crops:
        where = asked.crops or "the demo's photographs"
        raise SystemExit(f"expected a face in {where}, got none: name a folder with --crops")
    domain.sets = [PictureSet("photographs", torch.cat(crops[: asked.num]))]
    absent["editability of photographs"] = (
        "expected the truth of an edit and a classifier of photographs, neither is known: "
        "`--domain portraits` measures edits"
    )
    return domain


def drawn(name: str, num: int, seed: int, world: World, px: int) -> PictureSet:
    """Pictures in [-1, 1], who they show, and where objects are."""
    people = tuple(draw(row_seed(seed, i), world) for i in range(num))
    renderings = [render(person, px) for person in people]
    if not renderings:
        return PictureSet(name, torch.zeros(0, 3, px, px))
    shown = np.stack([r.segmentation for r in renderings]) == SEGMENTS.index("ood")
    objects = torch.from_numpy(shown)[:, None].float()
    return PictureSet(name, to_tensor([r.picture for r in renderings]), people, objects)


def pictures_of(people: Iterable[Portrait], px: int) -> Tensor:
    """[N, 3, px, px] in [-1, 1]."""
    pictures = [render(person, px).picture for person in people]
    return to_tensor(pictures) if pictures else torch.zeros(0, 3, px, px)


def folder_crops(folder: Path) -> list[Tensor]:
    """Every picture file of the folder, as it is framed; others are passed over."""
    found = []
    for path in sorted(folder.iterdir()):
        try:
            pixels = decode(path.read_bytes()).pixels
        except (BadPicture, OSError):
            continue
        picture = to_tensor(pixels)
        found.append(nn.functional.interpolate(picture, (CROP_PX, CROP_PX), mode="area"))
    return found


def demo_crops() -> list[Tensor]:
    """The largest face of each photograph of the demo."""
    models = ModelStore()
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


def _domain(name: str, generator: str, asked: Asked, absent: dict[str, str]) -> Domain:
    choice: dict[str, Any] = {"name": generator}
    if asked.generator:
        choice["weights"] = asked.generator
    recipe = Recipe.model_validate(
        {
            "name": "compare",
            "collection": {"uri": "portraits://?num=1"},
            "generator": choice,
            "perceptual": {"name": asked.perceptual},
            "methods": {method: {} for method in METHODS},  # an arm brings its own parameters
        }
    )
    models = ModelStore()
    missing = [n.missing for n in generator_networks(recipe, models).values() if n.missing]
    if missing:
        raise SystemExit(f"the generator of {name} is not at hand: {'; '.join(missing)}")
    device = torch.device(asked.device)
    G = cast("Any", load_generator(recipe, models)).to(device)
    loss, measures = distances(recipe, absent, device)
    return Domain(name, G, loss, measures, [], recipe, absent=absent, device=device)


DOMAINS: Mapping[str, Any] = {"portraits": portraits, "faces": faces}
