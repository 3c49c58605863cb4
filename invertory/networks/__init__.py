"""Networks. `NETWORKS` lists every class that a checkpoint's card can name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.encoders.idinvert import IdinvertEncoder
from invertory.encoders.invgan import InvGANEncoder
from invertory.encoders.pyramid import PyramidEncoder
from invertory.encoders.residual import ResidualEncoder
from invertory.generators.biggan import BigGAN
from invertory.generators.dcgan import DCGAN
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.networks.classifier import AttributeClassifier
from invertory.networks.face_parser import FaceParser
from invertory.networks.invertibility import InvertibilityPredictor
from invertory.networks.landmark_regressor import LandmarkRegressor
from invertory.networks.linknet import LinkNet
from invertory.networks.sam_encoder import SamEncoder
from invertory.networks.samm.network import Samm

if TYPE_CHECKING:
    from torch import Tensor


NETWORKS: dict[str, type[CheckpointedNetwork]] = {
    "attribute_classifier": AttributeClassifier,
    "biggan": BigGAN,
    "dcgan": DCGAN,
    "face_parser": FaceParser,
    "landmark_regressor": LandmarkRegressor,
    "idinvert_encoder": IdinvertEncoder,
    "invgan_encoder": InvGANEncoder,
    "invertibility_predictor": InvertibilityPredictor,
    "linknet": LinkNet,
    "mobile_stylegan": MobileStyleGAN,
    "pyramid_encoder": PyramidEncoder,
    "residual_encoder": ResidualEncoder,
    "sam_encoder": SamEncoder,
    "samm": Samm,
    "stylegan2": StyleGAN2,
    "stylegan2_discriminator": StyleGAN2Discriminator,
}


def build(
    name: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> CheckpointedNetwork:
    """Build the network class `name` from its configuration and tensors.

    Raises ValueError for an unknown name or configuration.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected an architecture among {sorted(NETWORKS)}, got {name!r}{hint}")
    try:
        return NETWORKS[name].load(tensors, config)
    except TypeError as error:  # an argument that the class does not have
        raise ValueError(
            f"expected a configuration of {name!r}, got {dict(config)}: {error}"
        ) from error
