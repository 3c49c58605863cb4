"""Faces in photographs: boxes, and the four anchors that alignment needs.

By default YuNet finds the boxes (Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector",
2023, https://doi.org/10.1007/s11633-023-1423-y), and MediaPipe's FaceLandmarker places 478 points
on each enlarged box. The alternative is dlib (Kazemi & Sullivan, "One Millisecond Face Alignment
with an Ensemble of Regression Trees", 2014), with which the FFHQ recipe was published.

Convention: a point (x, y) counts pixel centres, y points down, `left` is left in the image. The
caller passes the weights, as bytes or as a path. Detectors keep no state between images.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import cv2
import numpy as np
from PIL import Image

from invertory.alignment import Points, anchors_from_landmarks
from invertory.images import Pixels

# MediaPipe's mesh indices, left and right as in the image: the six lid points of each eye, whose
# mean is the eye's centre, and the mouth corners.
LEFT_EYE: Final = (33, 160, 158, 133, 153, 144)
RIGHT_EYE: Final = (362, 385, 387, 263, 373, 380)
MOUTH_CORNERS: Final = (61, 291)
# A box is enlarged by these factors in turn until the landmarker finds its face.
ENLARGEMENTS: Final = (1.8, 1.4, 2.6)
LANDMARKER_PX: Final = 384  # side of the enlarged box that the landmarker receives
# Side of the copy that YuNet searches. It detects faces of about 10 to 300 px, so an image that one
# face fills is searched again at a smaller size.
SEARCH_PX: Final = (1024, 320)

_NOISE: Final = re.compile(
    rb"^(W0000|I0000|INFO: |WARNING: (All log messages|Logging before)|\[ WARN:\d)"
)
_stderr_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Face:
    """A face in an image."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    confidence: float
    anchors: Points  # [4, 2]: left eye, right eye, left mouth corner, right mouth corner
    landmarks: Points | None = None  # [68, 2] in iBUG order, if the detector has them

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class FaceDetector(Protocol):
    """Detects the faces of an image."""

    def detect(self, image: Pixels) -> list[Face]:
        """uint8 [H, W, 3] => faces by decreasing area; an empty list if there are none."""
        ...


class ClosingLandmarker:
    """A context manager that closes its `_landmarker` on exit."""

    _landmarker: Any

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._landmarker.close()


class YuNetMediaPipe(ClosingLandmarker):
    """YuNet's boxes and MediaPipe's points. Close it, or use it as a context manager."""

    def __init__(
        self,
        yunet: bytes | Path,
        face_landmarker: bytes | Path,
        *,
        min_confidence: float = 0.6,
        search_px: tuple[int, ...] = SEARCH_PX,
    ) -> None:
        self._search_px = search_px
        weights = np.frombuffer(read_weights(yunet), np.uint8)
        with hide_startup_notices():
            self._yunet = cv2.FaceDetectorYN.create(
                "onnx", weights, np.empty(0, np.uint8), (320, 320), min_confidence, 0.3, 5000
            )
        self._landmarker = FaceLandmarker(face_landmarker, num_faces=4)

    def detect(self, image: Pixels) -> list[Face]:
        """uint8 [H, W, 3] => faces by decreasing area; boxes without landmarks are dropped."""
        for search_px in self._search_px:
            candidates = (self._face(image, box) for box in self._boxes(image, search_px))
            faces = [face for face in candidates if face is not None]
            if faces:
                return sorted(faces, key=lambda face: -face.area)
        return []

    def _boxes(self, image: Pixels, search_px: int) -> list[tuple[float, ...]]:
        """(left, top, width, height, confidence) of each face, in the image's pixels."""
        small, scale = _search_copy(image, search_px)
        self._yunet.setInputSize((small.shape[1], small.shape[0]))
        _, detections = self._yunet.detect(np.ascontiguousarray(small[:, :, ::-1]))
        rows = [] if detections is None else detections[:, [0, 1, 2, 3, 14]].astype(float).tolist()
        return [(*(value / scale for value in row[:4]), row[4]) for row in rows]

    def _face(self, image: Pixels, box: tuple[float, ...]) -> Face | None:
        left, top, width, height, confidence = box
        centre = np.array([left + width / 2, top + height / 2])
        for factor in ENLARGEMENTS:
            side = max(width, height) * factor
            window, origin, scale = _window(image, centre, side)
            meshes = [points / scale + origin for points in self._landmarker.meshes(window)]
            nearest = min(meshes, key=lambda mesh: _distance(mesh, centre), default=None)
            # close to the box's centre, so that a neighbour is not mistaken for this face
            if nearest is not None and _distance(nearest, centre) < max(width, height) / 3:
                corners = (left, top, left + width, top + height)
                return Face(corners, confidence, _anchors(nearest))
        return None


class FaceLandmarker(ClosingLandmarker):
    """MediaPipe's FaceLandmarker, for one image at a time. Close it, or use `with`."""

    def __init__(
        self, weights: bytes | Path, *, num_faces: int = 1, has_scores: bool = False
    ) -> None:
        with hide_startup_notices():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=read_weights(weights)),
                num_faces=num_faces,
                output_face_blendshapes=has_scores,
                output_facial_transformation_matrixes=has_scores,
            )
            self._mediapipe = mediapipe
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
            # its threads print their notices once, here
            self.detect(np.zeros((64, 64, 3), np.uint8))

    def detect(self, image: Pixels) -> Any:
        """uint8 [H, W, 3] => MediaPipe's FaceLandmarkerResult."""
        image_format = self._mediapipe.ImageFormat.SRGB
        data = np.ascontiguousarray(image)
        return self._landmarker.detect(self._mediapipe.Image(image_format=image_format, data=data))

    def meshes(self, image: Pixels) -> list[Points]:
        """uint8 [H, W, 3] => the points [478, 2] of each face, in pixels."""
        size = np.array([image.shape[1], image.shape[0]])
        faces = self.detect(image).face_landmarks
        return [np.array([(p.x, p.y) for p in face]) * size - 0.5 for face in faces]


class Dlib:
    """dlib's HOG detector on a copy of at most `search_px`, and its 68 points.

    Raises `ImportError` without dlib, and `FileNotFoundError` without the shape predictor.
    """

    def __init__(self, shape_predictor: Path, *, search_px: int = 512) -> None:
        try:
            import dlib
        except ImportError as error:
            raise ImportError(
                "the dlib detector needs dlib, which is not installed; run `pip install "
                "invertory[dlib]`"
            ) from error
        if not Path(shape_predictor).is_file():
            raise FileNotFoundError(
                f"expected dlib's 68-point .dat file at {shape_predictor}, got no file: download "
                "the shape predictor"
            )
        self._dlib = dlib
        self._search_px = search_px
        self._boxes = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(str(shape_predictor))

    def detect(self, image: Pixels) -> list[Face]:
        """uint8 [H, W, 3] => faces by decreasing area."""
        small, scale = _search_copy(image, self._search_px)
        boxes, confidences, _ = self._boxes.run(small, 0, 0.0)
        pairs = zip(boxes, confidences, strict=True)
        faces = [self._face(image, box, scale, float(c)) for box, c in pairs]
        return sorted(faces, key=lambda face: -face.area)

    def _face(self, image: Pixels, box: Any, scale: float, confidence: float) -> Face:
        edges = (box.left(), box.top(), box.right(), box.bottom())
        corners = [round(edge / scale) for edge in edges]
        shape = self._points(image, self._dlib.rectangle(*corners))
        points = np.array([(p.x, p.y) for p in shape.parts()], np.float64)
        left, top, right, bottom = map(float, corners)
        return Face((left, top, right, bottom), confidence, anchors_from_landmarks(points), points)


def read_weights(weights: bytes | Path) -> bytes:
    return weights if isinstance(weights, bytes) else Path(weights).read_bytes()


@contextlib.contextmanager
def hide_startup_notices() -> Iterator[None]:
    """Hide the start-up notices of MediaPipe and OpenCV on stderr; other output is kept.

    They come from C++, below `sys.stderr`, so the process's file descriptor is redirected
    meanwhile.
    """
    with _stderr_lock, tempfile.TemporaryFile() as held:
        with contextlib.suppress(AttributeError, ValueError):
            sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)


def _search_copy(image: Pixels, search_px: int) -> tuple[Pixels, float]:
    """Reduce the image by area means to a longer side of `search_px`; return it and the scale."""
    height, width = image.shape[:2]
    scale = min(search_px / max(height, width), 1.0)
    if scale == 1.0:
        return image, scale
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scale


def _window(image: Pixels, centre: Points, side: float) -> tuple[Pixels, Points, float]:
    """Cut the square of `side` px around `centre`, scaled to LANDMARKER_PX; black outside.

    Returns the square, its origin and its scale: a point p lies at p / scale + origin in the image.
    """
    pil_image = Image.fromarray(image)
    factor = max(int(side / (2 * LANDMARKER_PX)), 1)
    if factor > 1:  # a close-up: reduce by area means first, so that the square stays small
        pil_image, centre, side = (
            pil_image.reduce(factor),
            (centre + 0.5) / factor - 0.5,
            side / factor,
        )
    x0, y0 = (int(c) for c in np.floor(centre - side / 2))
    num_px = int(np.ceil(side))
    square = pil_image.crop((x0, y0, x0 + num_px, y0 + num_px))
    window = square.resize((LANDMARKER_PX, LANDMARKER_PX), Image.Resampling.BILINEAR)
    scale = LANDMARKER_PX / num_px
    # edges map to edges: source + 0.5 = ((p + 0.5) / scale + corner) * factor
    origin = (np.array([x0, y0]) + 0.5 / scale) * factor - 0.5
    return np.asarray(window), origin, scale / factor


def _anchors(mesh: Points) -> Points:
    eyes = mesh[list(LEFT_EYE)].mean(0), mesh[list(RIGHT_EYE)].mean(0)
    return np.stack([*eyes, *mesh[list(MOUTH_CORNERS)]])


def _distance(mesh: Points, centre: Points) -> float:
    return float(np.hypot(*((mesh.min(0) + mesh.max(0)) / 2 - centre)))
