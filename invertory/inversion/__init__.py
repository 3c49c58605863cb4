"""Inversion: pictures to latents. `METHODS` names every method a recipe may ask for.

A method is a frozen dataclass of its hyper-parameters (defaults are the paper's) with four class
attributes (`space`, `terms`, `kind`, `needs`) and one verb, `invert`. Adding one takes its file, a
line in `METHODS` and `make catalogue`; the recipe's choices, the assets and the contract test
follow.

Four more are for those that need them: `has_state` where a picture takes more than its latent,
`maps` with the names of small pictures given beside it, a verb `draw` (see `drawing`), and `check`
where the settings ask for what not every generator or network has (see `Checking`).

Networks that a method needs beside the generator (an encoder, say) are named by kind in `needs`. It
has a field of that name for their address, and is handed them as `networks`. Addresses are a
method's only fields of the type `str`; a kind is needed where its field applies (see `effect`) and
is not empty.
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
from invertory.inversion.method import NO_NETWORKS, Checking, Inversion, Method, Space
from invertory.inversion.projector import Projector
from invertory.inversion.psp import PSP
from invertory.inversion.pti.method import PivotalTuning
from invertory.inversion.restyle import ReStyle
from invertory.inversion.sam.encoder import SamByEncoder
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.inversion.samm.method import SAMM

__all__ = ["METHODS", "NO_NETWORKS", "Checking", "Inversion", "Method", "Space"]

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
