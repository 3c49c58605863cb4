"""Segments of photographed faces, from the outlines of a landmark mesh.

Parsers of photographs are usually trained on hand-drawn masks, whose licences forbid most uses. The
mesh of MediaPipe's FaceLandmarker (478 points, Apache-2.0) also tells which pixels belong to a
face's skin, brows, eyes and mouth: we fill its outlines (Kartynnik et al., "Real-time Facial
Surface Geometry from Monocular Video on Mobile GPUs", 2019, https://arxiv.org/abs/1907.06724).

Everything outside the mesh is `background`, including hair, ears, neck and clothes. Objects that
cover a face count as the face, because the mesh continues behind them.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from torch import nn

from invertory.images import to_uint8
from invertory.landmarks import FaceLandmarker, read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.alignment import Points
    from invertory.images import Pixels

SEGMENTS: Final = ("background", "skin", "brows", "eyes", "mouth")

# Rings of mesh indices; left and right are those of the image.
OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LEFT_BROW: Final = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
RIGHT_BROW: Final = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
LEFT_LIDS: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
)  # fmt: skip
RIGHT_LIDS: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
)  # fmt: skip
LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
# In drawing order: later outlines are drawn over earlier ones.
OUTLINES: Final = (
    ("skin", OVAL),
    ("brows", LEFT_BROW),
    ("brows", RIGHT_BROW),
    ("eyes", LEFT_LIDS),
    ("eyes", RIGHT_LIDS),
    ("mouth", LIPS),
)
_FRACTION_BITS: Final = 4  # fractional bits of OpenCV's fixed-point coordinates


class MeshParser(nn.Module):
    """A parser for photographs; it has no tensors and needs no training.

    MediaPipe runs on the CPU and is opened for each call, so nothing has to be closed.
    """

    segments = SEGMENTS

    def __init__(self, face_landmarker: bytes | Path) -> None:
        """`face_landmarker`: MediaPipe's face_landmarker.task, as a path or as bytes.

        Raises FileNotFoundError if the file is missing and ValueError if it is not a zip.
        """
        super().__init__()
        self._weights = _read_bundle(face_landmarker)

    @torch.no_grad()
    def segment(self, x: Tensor) -> Tensor:
        """Images x [N, 3, H, W] in [-1, 1] => indices into `segments`, uint8 [N, H, W].

        An image without a face is all background; of several faces, the most confident is used.
        """
        images = to_uint8(x.detach().float().nan_to_num(0.0).clamp(-1, 1))
        with FaceLandmarker(self._weights) as landmarker:
            segmentations = [_segment_image(landmarker.meshes(image), image) for image in images]
        return torch.from_numpy(np.stack(segmentations)).to(x.device)


def fill_outlines(mesh: Points, shape: tuple[int, int]) -> Pixels:
    """Mesh [478, 2] of (x, y) at pixel centres => indices into SEGMENTS, uint8 [H, W]."""
    segmentation = np.zeros(shape, np.uint8)
    for name, ring in OUTLINES:
        vertices = np.rint(mesh[list(ring)] * 2**_FRACTION_BITS).astype(np.int32)
        cv2.fillPoly(segmentation, [vertices], SEGMENTS.index(name), shift=_FRACTION_BITS)
    return segmentation


def _segment_image(meshes: list[Points], image: Pixels) -> Pixels:
    shape = image.shape[:2]
    return fill_outlines(meshes[0], shape) if meshes else np.zeros(shape, np.uint8)


def _read_bundle(weights: bytes | Path) -> bytes:
    """Read and validate the bytes of the task bundle."""
    if isinstance(weights, Path) and not weights.is_file():
        raise FileNotFoundError(
            f"expected MediaPipe's face_landmarker.task at {weights}, got no file: correct the "
            "path, or set parser: auto, which fetches it"
        )
    data = read_weights(weights)
    if not zipfile.is_zipfile(BytesIO(data)):
        raise ValueError(
            f"expected MediaPipe's face_landmarker.task, a zip, got {len(data)} bytes of another "
            "kind: name that file, or set parser: auto"
        )
    return data
