"""The trainers that a training may name: what each takes, needs and makes, and how it is built.

All are built alike: a trainer's class is called with the keywords `config` and `compute`, the
networks by kind (None for one that the training leaves out), and its data under the name in `data`.
`adapted` changes these arguments for a class that expects others.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from invertory.portraits.dataset import PortraitSet
    from invertory.training.compute import Compute
    from invertory.training.idinvert.pairs import Pairs
    from invertory.training.loop.blocks import Progress
    from invertory.training.loop.run import Training
    from invertory.training.sam.invertibility import InvertedImages

Arguments = dict[str, Any]
WORLD = "invertory.portraits:World"  # how portraits are drawn
DRAWS = "invertory.training.idinvert.pairs:Draws"  # which latents pairs are made of
PICTURES = ("images", "pairs", "images and pairs")  # kinds of data without labels


@dataclass(frozen=True, kw_only=True)
class Work:
    """The inputs of a training: settings, data, and other networks by kind."""

    settings: Any
    compute: Compute
    networks: Mapping[str, Any] = field(default_factory=dict)
    # Sets of portraits by name, or else images alone: those of pairs, then the user's.
    sets: Mapping[str, PortraitSet | np.ndarray] = field(default_factory=dict)
    images: np.ndarray | None = None  # uint8 [N, H, W, 3]
    pairs: Pairs | None = None
    inverted: InvertedImages | None = None  # the portraits, inverted by its networks

    @property
    def pixels(self) -> np.ndarray:
        """uint8 [N, H, W, 3] of the data; of the first set where there are several."""
        if self.pairs is not None:
            return self.pairs.images
        if self.images is not None:
            return self.images
        from invertory.training.data.portrait_batches import images_of

        return images_of(next(iter(self.sets.values())))

    @property
    def w_plus(self) -> np.ndarray | None:
        """[N, num_ws, w_dim], the latents of the images, where they are known."""
        return self.pairs.w_plus if self.pairs is not None else None


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """One of `TRAINERS`."""

    settings: str  # module:class, a frozen dataclass
    training: str  # module:class, a `Training`
    gives: tuple[str, ...]  # kinds of the networks that it makes, the main one first
    takes: tuple[str, ...] = ()  # kinds of data; none: it draws from its generator
    data: str = ""  # attribute of `Work` and argument of the class: pixels, sets, pairs, inverted
    beside: tuple[str, ...] = ()  # further attributes that are arguments
    needs: tuple[str, ...] = ()  # kinds of required networks
    may_use: tuple[str, ...] = ()  # kinds of optional networks
    mixes: bool = False  # takes several sets of portraits at once
    # Prepares the data with its networks, in a folder in which a later run resumes.
    prepare: Callable[[Work, Path, Progress], Work] | None = None
    adapted: Callable[[Arguments], Arguments] = dict

    @property
    def settings_class(self) -> type:
        """Imports torch."""
        settings: type = imported(self.settings)
        return settings

    def build(self, work: Work) -> Training:
        """The trainer, ready for its first step."""
        arguments = {kind: work.networks.get(kind) for kind in (*self.needs, *self.may_use)}
        arguments |= {"config": work.settings, "compute": work.compute}
        if self.data:
            arguments |= {name: getattr(work, name) for name in (self.data, *self.beside)}
        training: Training = imported(self.training)(**self.adapted(arguments))
        return training


def imported(address: str) -> Any:
    """The object at module:name."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def _labelled(module: str, name: str, kind: str) -> Trainer:
    """A trainer on labelled portraits: classes <name>Settings and <name>Training."""
    address = f"invertory.training.{module}:{name}"
    return Trainer(
        settings=f"{address}Settings",
        training=f"{address}Training",
        gives=(kind,),
        takes=("portraits",),
        data="sets",
        mixes=True,
    )


def _of_pyramid(module: str, name: str, kind: str) -> Trainer:
    """A trainer of pSp's family: classes <name>Config and <name>Training."""
    address = f"invertory.training.{module}:{name}"
    return Trainer(
        settings=f"{address}Config",
        training=f"{address}Training",
        gives=(kind,),
        takes=("portraits", "images", "pairs"),
        data="pixels",
        beside=("w_plus",),
        needs=("generator", "perceptual"),
        may_use=("classifier", "encoder"),
    )


def _with_warm_start(arguments: Arguments) -> Arguments:
    """InvGAN starts from the generator and the discriminator."""
    from invertory.training.invgan.warm_start import WarmStart

    start = WarmStart.of(arguments.pop("generator"), arguments.pop("discriminator"))
    return {**arguments, "warm_start": start}


def _with_base(arguments: Arguments) -> Arguments:
    """SAM's encoder starts from the encoder."""
    base = arguments.pop("encoder")
    return {**arguments, "base": base}


def _with_inverted(arguments: Arguments) -> Arguments:
    """The networks that `_inverted` has used already are left out."""
    return {name: arguments[name] for name in ("inverted", "parser", "config", "compute")}


def _inverted(work: Work, folder: Path, progress: Progress) -> Work:
    from invertory.generators.f_space import resolve_spaces
    from invertory.training.compute import TrainingImages
    from invertory.training.sam.errors import InversionNetworks, prepare_errors
    from invertory.training.sam.invertibility import InvertedImages, pick_images

    settings, networks = work.settings, work.networks
    how = dataclasses.replace(settings.inverting, precision=work.compute.precision)
    pictures, is_plain = pick_images(work.sets, settings.shares, settings.num)
    inverter = InversionNetworks(networks["generator"], networks["encoder"], networks["perceptual"])
    found = TrainingImages(pictures, work.compute)
    errors = prepare_errors(inverter, found, folder, how, progress=progress)
    spaces = resolve_spaces(inverter.generator, how.spaces)
    return dataclasses.replace(work, inverted=InvertedImages(pictures, errors, spaces, is_plain))


TRAINERS = {
    "stylegan2": Trainer(
        settings="invertory.training.stylegan2.trainer:StyleGAN2TrainingConfig",
        training="invertory.training.stylegan2.trainer:StyleGAN2Training",
        gives=("generator", "discriminator", "encoder"),
        takes=("portraits", "images"),
        data="pixels",
        may_use=("classifier",),
    ),
    "classifier": _labelled("supervised.classifier", "Classifier", "classifier"),
    "parser": _labelled("supervised.face_parser", "Parser", "parser"),
    "landmarks": _labelled("supervised.landmark_regressor", "Regressor", "landmarks"),
    "conventional_encoder": Trainer(
        settings="invertory.training.idinvert.conventional_encoder:ConventionalEncoderConfig",
        training="invertory.training.idinvert.conventional_encoder:ConventionalEncoderTraining",
        gives=("encoder",),
        takes=("pairs",),
        data="pairs",
        needs=("generator",),
        may_use=("perceptual",),
    ),
    "domain_guided_encoder": Trainer(
        settings="invertory.training.idinvert.domain_guided_encoder:DomainGuidedEncoderConfig",
        training="invertory.training.idinvert.domain_guided_encoder:DomainGuidedEncoderTraining",
        gives=("encoder",),
        takes=("portraits", "images"),
        data="pixels",
        needs=("generator", "discriminator", "encoder", "perceptual"),
    ),
    "invgan": Trainer(
        settings="invertory.training.invgan.config:InvGANConfig",
        training="invertory.training.invgan.trainer:InvGANTraining",
        gives=("generator", "invgan"),
        takes=("portraits", "images"),
        data="pixels",
        may_use=("classifier", "discriminator", "generator"),
        adapted=_with_warm_start,
    ),
    "invertibility": Trainer(
        settings="invertory.training.sam.invertibility:InvertibilitySettings",
        training="invertory.training.sam.invertibility:InvertibilityTraining",
        gives=("invertibility",),
        takes=("portraits", *PICTURES),
        data="inverted",
        needs=("generator", "encoder", "perceptual"),
        may_use=("parser",),
        mixes=True,
        prepare=_inverted,
        adapted=_with_inverted,
    ),
    "linknet": Trainer(
        settings="invertory.training.linknet:LinkNetConfig",
        training="invertory.training.linknet:LinkNetTraining",
        gives=("linknet",),
        needs=("generator", "classifier"),
    ),
    "e4e": _of_pyramid("pyramid.e4e", "E4E", "e4e"),
    "psp": _of_pyramid("pyramid.psp", "PyramidEncoder", "psp"),
    "restyle": _of_pyramid("pyramid.restyle", "ReStyle", "restyle"),
    "sam_encoder": Trainer(
        settings="invertory.training.sam.encoder:SamEncoderConfig",
        training="invertory.training.sam.encoder:SamEncoderTraining",
        gives=("sam_encoder",),
        takes=("portraits",),
        data="sets",
        needs=("generator", "encoder", "perceptual"),
        mixes=True,
        adapted=_with_base,
    ),
    "samm": Trainer(
        settings="invertory.training.samm.trainer:SammConfig",
        training="invertory.training.samm.trainer:SammTraining",
        gives=("samm",),
        takes=("portraits", *PICTURES),
        data="sets",
        needs=("generator", "encoder", "perceptual"),
        may_use=("classifier", "discriminator"),
        mixes=True,
    ),
}
