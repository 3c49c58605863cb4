"""Inversion: images to latents. `METHODS` lists every method that a recipe can name.

A method is a frozen dataclass of hyper-parameters (the defaults are the paper's) with four class
attributes (`space`, `terms`, `kind`, `needs`) and one verb, `invert`. To add a method, write its
file, add a line to `METHODS` and run `make catalogue`; the recipe's choices, the assets and the
contract test follow.

A method may also have: `has_state`, if an image needs more than its latent; `maps`, the names of
small images stored beside the latent; a verb `draw` (see `drawing`); and `check`, if not every
generator or network supports every setting (see `SupportsCheck`).

`needs` names the kinds of networks that a method needs besides the generator, such as an encoder.
For each kind the method has a field of that name for the address and receives the network in
`networks`. Addresses are a method's only fields of the type `str`; a kind is needed where its field
applies (see `effect`) and is not empty.
"""

from __future__ import annotations

from invertory.inversion.e4e import E4E
from invertory.inversion.gaussian_prior import GaussianPrior
from invertory.inversion.hybrid import Hybrid
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.image2stylegan_plus import Image2StyleGANPlus
from invertory.inversion.in_domain.conventional_encoder import ConventionalEncoder
from invertory.inversion.in_domain.domain_guided_encoder import DomainGuidedEncoder
from invertory.inversion.in_domain.optimisation import InDomain
from invertory.inversion.invgan.encoder import InvGAN
from invertory.inversion.invgan.tiled import InvGANTiled
from invertory.inversion.magec import Magec
from invertory.inversion.method import NO_NETWORKS, Inversion, Method, Space, SupportsCheck
from invertory.inversion.projector import Projector
from invertory.inversion.psp import PSP
from invertory.inversion.pti.method import PivotalTuning
from invertory.inversion.restyle import ReStyle
from invertory.inversion.sam.encoder import SamByEncoder
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.inversion.samm.method import SAMM

__all__ = ["METHODS", "NO_NETWORKS", "Inversion", "Method", "Space", "SupportsCheck"]

METHODS: dict[str, type[Method]] = {
    "conventional_encoder": ConventionalEncoder,
    "domain_guided_encoder": DomainGuidedEncoder,
    "e4e": E4E,
    "gaussian_prior": GaussianPrior,
    "hybrid": Hybrid,
    "image2stylegan": Image2StyleGAN,
    "image2stylegan_plus": Image2StyleGANPlus,
    "in_domain": InDomain,
    "invgan": InvGAN,
    "invgan_tiled": InvGANTiled,
    "magec": Magec,
    "projector": Projector,
    "psp": PSP,
    "pti": PivotalTuning,
    "restyle": ReStyle,
    "sam": SpatiallyAdaptive,
    "sam_encoder": SamByEncoder,
    "samm": SAMM,
}
