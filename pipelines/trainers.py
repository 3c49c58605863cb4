"""The trainers that a training may name: what each takes, needs and gives, and how it is built."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.recipe_words import field_types

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from invertory.portraits.dataset import PortraitSet
    from invertory.training.compute import Compute
    from invertory.training.errors import Shown
    from invertory.training.invertibility import Inverted
    from invertory.training.loop import Training
    from invertory.training.pairs import Pairs
    from pipelines.trainings import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a training starts from: settings, data of the kind it takes, other networks by kind."""

    settings: Any
    compute: Compute
    networks: Mapping[str, Any] = field(default_factory=dict)
    portraits: Mapping[str, PortraitSet] = field(default_factory=dict)  # by the name of the set
    images: np.ndarray | None = None  # uint8 [N, H, W, 3]
    pairs: Pairs | None = None
    inverted: Inverted | None = None  # what its networks made of the portraits before

    @property
    def pictures(self) -> np.ndarray:
        """uint8 [N, H, W, 3] of whichever data there is; of several sets the first."""
        if self.pairs is not None:
            return self.pairs.pictures
        if self.images is not None:
            return self.images
        return next(iter(self.portraits.values())).pictures


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """One of `TRAINERS`."""

    settings: str  # module:class, a frozen dataclass
    build: Callable[[Work], Training]
    gives: tuple[str, ...]  # kinds of networks, the one that matters first
    takes: tuple[str, ...] = ()  # kinds of data; none: it draws everything from its generator
    needs: tuple[str, ...] = ()  # kinds of other networks
    may_use: tuple[str, ...] = ()  # kinds that it does without
    mixes: bool = False  # takes several sets of portraits at once
    # What its networks make of its data before, in a folder that a later run goes on in.
    prepare: Callable[[Work, Path, Shown], Work] | None = None

    @property
    def settings_class(self) -> type:
        """Imports torch."""
        return imported(self.settings)


# What a training says elsewhere than in its settings, by the names that settings have for it.
ELSEWHERE = {"images": "budget.images", "batch_size": "budget.batch_size", "shares": "data"}


def imported(address: str) -> Any:
    """What lies at module:name."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def settings_of(spec: TrainingSpec) -> Any:
    """The settings of the spec's trainer, with its budget and the shares of its sets in them."""
    settings_class = TRAINERS[spec.trainer].settings_class
    portraits = spec.data.portraits if spec.data else None
    told = {
        "images": spec.budget.images,
        "batch_size": spec.budget.batch_size,
        "shares": tuple(one.share for one in portraits or ()),
    }
    known = field_types(settings_class)
    filled = {name: value for name, value in told.items() if name in known and value}
    return built(settings_class, {**spec.settings, **filled})


def built(settings_class: type, given: Mapping[str, Any]) -> Any:
    """A dataclass with what is given; within it, a dataclass's default with what is given there."""
    return settings_class(**_values(settings_class, given))


def _values(settings_class: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.name: _nested(one, given[one.name])
        for one in dataclasses.fields(settings_class)
        if one.name in given
    }


def _nested(one: dataclasses.Field[Any], value: Any) -> Any:
    if not isinstance(value, Mapping) or one.default_factory is dataclasses.MISSING:
        return value
    default = one.default_factory()
    is_settings = dataclasses.is_dataclass(default) and not isinstance(default, type)
    return dataclasses.replace(default, **_values(type(default), value)) if is_settings else value


def _stylegan2(work: Work) -> Training:
    from invertory.training.stylegan2 import StyleGAN2Training

    return StyleGAN2Training(
        work.pictures, work.settings, work.compute, work.networks.get("classifier")
    )


def _labelled(address: str, work: Work) -> Training:
    """The trainer on labelled portraits at module:class."""
    training: Training = imported(address)(work.settings, work.portraits, work.compute)
    return training


def _conventional_encoder(work: Work) -> Training:
    from invertory.training.conventional_encoder import ConventionalEncoderTraining

    networks = work.networks
    assert work.pairs is not None  # the only data that it takes
    return ConventionalEncoderTraining(
        networks["generator"],
        work.pairs,
        work.settings,
        networks.get("perceptual"),
        work.compute,
    )


def _domain_guided_encoder(work: Work) -> Training:
    from invertory.training.domain_guided_encoder import DomainGuidedEncoderTraining

    networks = work.networks
    return DomainGuidedEncoderTraining(
        networks["generator"],
        networks["discriminator"],
        networks["encoder"],
        networks["perceptual"],
        work.pictures,
        work.settings,
        work.compute,
    )


def _invgan(work: Work) -> Training:
    from invertory.training.invgan import InvGANTraining
    from invertory.training.invgan_warm_start import WarmStart

    given = work.networks
    return InvGANTraining(
        work.pictures,
        work.settings,
        work.compute,
        given.get("classifier"),
        WarmStart.of(given.get("generator"), given.get("discriminator")),
    )


def _pyramid_encoder(address: str, work: Work) -> Training:
    """The trainer of pSp's family at module:class."""
    networks = work.networks
    training: Training = imported(address)(
        networks["generator"],
        networks["perceptual"],
        work.pictures,
        work.settings,
        work.compute,
        classifier=networks.get("classifier"),
        encoder=networks.get("encoder"),
    )
    return training


def _of_pyramid(module: str, name: str, kind: str) -> Trainer:
    """A trainer of pSp's family: classes <name>Config and <name>Training of its module."""
    address = f"invertory.training.{module}:{name}"
    return Trainer(
        settings=f"{address}Config",
        build=partial(_pyramid_encoder, f"{address}Training"),
        gives=(kind,),
        takes=("portraits", "images", "pairs"),
        needs=("generator", "perceptual"),
        may_use=("classifier", "encoder"),
    )


def _inverted(work: Work, folder: Path, shown: Shown) -> Work:
    from invertory.generators.f_space import checked_spaces
    from invertory.training.compute import Pictures
    from invertory.training.errors import Inverter, prepare_errors
    from invertory.training.invertibility import Inverted, picked

    settings, networks = work.settings, work.networks
    how = dataclasses.replace(settings.inverting, precision=work.compute.precision)
    pictures, is_plain = picked(work.portraits, settings.shares, settings.num)
    inverter = Inverter(networks["generator"], networks["encoder"], networks["perceptual"])
    found = Pictures(pictures, work.compute)
    errors = prepare_errors(inverter, found, folder, how, shown=shown)
    spaces = checked_spaces(inverter.generator, how.spaces)
    return dataclasses.replace(work, inverted=Inverted(pictures, errors, spaces, is_plain))


def _invertibility(work: Work) -> Training:
    from invertory.training.invertibility import InvertibilityTraining

    assert work.inverted is not None  # prepared
    return InvertibilityTraining(
        work.inverted, work.settings, work.compute, work.networks.get("parser")
    )


def _linknet(work: Work) -> Training:
    from invertory.training.linknet import LinkNetTraining

    networks = work.networks
    return LinkNetTraining(
        networks["generator"], networks["classifier"], work.settings, work.compute
    )


def _sam_encoder(work: Work) -> Training:
    from invertory.training.sam_encoder import SamEncoderTraining

    networks = work.networks
    return SamEncoderTraining(
        networks["generator"],
        networks["encoder"],
        networks["perceptual"],
        work.portraits,
        work.settings,
        work.compute,
    )


def _samm(work: Work) -> Training:
    from invertory.training.samm import SammTraining

    networks = work.networks
    return SammTraining(
        networks["generator"],
        networks["encoder"],
        networks["discriminator"],
        networks["classifier"],
        networks["perceptual"],
        work.portraits,
        work.settings,
        work.compute,
    )


TRAINERS = {
    "stylegan2": Trainer(
        settings="invertory.training.stylegan2:StyleGAN2TrainingConfig",
        build=_stylegan2,
        gives=("generator", "discriminator", "encoder"),
        takes=("portraits", "images"),
        may_use=("classifier",),
    ),
    "classifier": Trainer(
        settings="invertory.training.classifier:ClassifierSettings",
        build=partial(_labelled, "invertory.training.classifier:ClassifierTraining"),
        gives=("classifier",),
        takes=("portraits",),
        mixes=True,
    ),
    "parser": Trainer(
        settings="invertory.training.parsing:ParserSettings",
        build=partial(_labelled, "invertory.training.parsing:ParserTraining"),
        gives=("parser",),
        takes=("portraits",),
        mixes=True,
    ),
    "landmarks": Trainer(
        settings="invertory.training.landmarks:RegressorSettings",
        build=partial(_labelled, "invertory.training.landmarks:RegressorTraining"),
        gives=("landmarks",),
        takes=("portraits",),
        mixes=True,
    ),
    "conventional_encoder": Trainer(
        settings="invertory.training.conventional_encoder:ConventionalEncoderConfig",
        build=_conventional_encoder,
        gives=("encoder",),
        takes=("pairs",),
        needs=("generator",),
        may_use=("perceptual",),
    ),
    "domain_guided_encoder": Trainer(
        settings="invertory.training.domain_guided_encoder:DomainGuidedEncoderConfig",
        build=_domain_guided_encoder,
        gives=("encoder",),
        takes=("portraits", "images"),
        needs=("generator", "discriminator", "encoder", "perceptual"),
    ),
    "invgan": Trainer(
        settings="invertory.training.invgan_config:InvGANConfig",
        build=_invgan,
        gives=("generator", "invgan"),
        takes=("portraits", "images"),
        may_use=("classifier", "discriminator", "generator"),
    ),
    "invertibility": Trainer(
        settings="invertory.training.invertibility:InvertibilitySettings",
        build=_invertibility,
        gives=("invertibility",),
        takes=("portraits",),
        needs=("generator", "encoder", "perceptual"),
        may_use=("parser",),
        mixes=True,
        prepare=_inverted,
    ),
    "linknet": Trainer(
        settings="invertory.training.linknet:LinkNetConfig",
        build=_linknet,
        gives=("linknet",),
        needs=("generator", "classifier"),
    ),
    "e4e": _of_pyramid("e4e", "E4E", "e4e"),
    "psp": _of_pyramid("pyramid_encoders", "PyramidEncoder", "psp"),
    "restyle": _of_pyramid("restyle", "ReStyle", "restyle"),
    "sam_encoder": Trainer(
        settings="invertory.training.sam_encoder:SamEncoderConfig",
        build=_sam_encoder,
        gives=("sam_encoder",),
        takes=("portraits",),
        needs=("generator", "encoder", "perceptual"),
        mixes=True,
    ),
    "samm": Trainer(
        settings="invertory.training.samm:SammConfig",
        build=_samm,
        gives=("samm",),
        takes=("portraits",),
        needs=("generator", "encoder", "discriminator", "classifier", "perceptual"),
        mixes=True,
    ),
}
