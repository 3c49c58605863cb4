"""Scorers turn images into raw scores by name; thresholds and labels are applied elsewhere.

Available are MediaPipe's blendshapes and head pose for faces, and classifiers that users bring as
ONNX, `torch.export` or TorchScript files (a TorchScript file is a program that is executed). The
score of an image depends on that image only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from invertory.checkpoints.exported import load_exported
from invertory.images import Pixels, resize
from invertory.landmarks import ClosingLandmarker, FaceLandmarker, read_weights

Vector = npt.NDArray[np.float64]
Scores = dict[str, float]

# Our names => the blendshapes that they average, 0 to 1; blendshapes also keep their own names.
EXPRESSIONS: Final = {
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "mouth_open": ("jawOpen",),
    "eyes_closed": ("eyeBlinkLeft", "eyeBlinkRight"),
    "brows_raised": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "frown": ("mouthFrownLeft", "mouthFrownRight"),
}
POSE: Final = ("yaw_deg", "pitch_deg", "roll_deg")
BLENDSHAPES: Final = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadScore:
    """The reason why an image has no score."""

    reason: str


class Scorer(Protocol):
    """Scores each image under each of `names`, or gives the reason why it cannot."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order."""
        ...


class FaceScorer(ClosingLandmarker):
    """MediaPipe's scores of the most confident face on a crop. Close it, or use `with`.

    Names are those of EXPRESSIONS and BLENDSHAPES (0 to 1; left and right are the person's) and the
    head pose in degrees. yaw_deg > 0: the face looks towards the right of the image; pitch_deg > 0:
    it looks up; roll_deg > 0: it is rotated clockwise as seen. Mirroring an image negates yaw and
    roll. Raises ValueError for unknown names.
    """

    def __init__(self, face_landmarker: bytes | Path, names: Sequence[str]) -> None:
        known = {*EXPRESSIONS, *BLENDSHAPES, *POSE}
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(
                f"unknown face scores {unknown}; known are {sorted(EXPRESSIONS)}, {list(POSE)} "
                f"and MediaPipe's blendshapes {list(BLENDSHAPES)}"
            )
        self.names = tuple(names)
        self._landmarker = FaceLandmarker(face_landmarker, has_scores=True)

    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order."""
        return [self._score(image) for image in images]

    def _score(self, image: Pixels) -> Scores | BadScore:
        detection = self._landmarker.detect(image)
        if not detection.face_blendshapes:
            return BadScore("no face on the crop")
        shapes = {shape.category_name: shape.score for shape in detection.face_blendshapes[0]}
        scores = {
            name: float(np.mean([shapes[shape_name] for shape_name in shapes_of_name]))
            for name, shapes_of_name in EXPRESSIONS.items()
        }
        pose = head_pose(np.asarray(detection.facial_transformation_matrixes[0], np.float64))
        scores |= {**shapes, **dict(zip(POSE, pose, strict=True))}
        return {name: float(scores[name]) for name in self.names}


def head_pose(matrix: Vector) -> tuple[float, float, float]:
    """MediaPipe's face matrix [4, 4] => (yaw, pitch, roll) in degrees; signs as in `FaceScorer`.

    The space is right-handed: x points right, y up, z towards the camera. R = Ry(yaw) Rx(-pitch)
    Rz(-roll).
    """
    rotation = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))  # remove the scale
    forward = rotation[:, 2]  # where the nose points
    yaw = np.arctan2(forward[0], forward[2])
    pitch = np.arcsin(np.clip(forward[1], -1, 1))
    roll = -np.arctan2(rotation[1, 0], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFormat:
    """The input that a classifier expects, and the meaning of its output.

    The image is resized to `size_px` (Lanczos), divided by 255, normalised by `mean` and `std`, and
    laid out as [1, 3, size_px, size_px]. `outputs` maps each name to the index of its logit in the
    flattened output; "softmax" normalises over the whole output.
    """

    outputs: dict[str, int]
    size_px: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet, as torchvision
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: Literal["rgb", "bgr"] = "rgb"
    activation: Literal["none", "sigmoid", "softmax"] = "none"

    def __post_init__(self) -> None:
        if not self.outputs or min(self.outputs.values()) < 0 or self.size_px < 1:
            raise ValueError(
                f"expected size_px of at least 1 and non-negative indices for one or more names, "
                f"got {self.size_px} and {self.outputs}"
            )

    def prepare(self, image: Pixels) -> npt.NDArray[np.float32]:
        """uint8 [H, W, 3] => float32 [1, 3, size_px, size_px]."""
        levels = resize(image, self.size_px, self.size_px).astype(np.float32) / 255
        if self.channels == "bgr":
            levels = levels[:, :, ::-1]
        normal = (levels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)

    def read(self, output: npt.NDArray[Any]) -> Scores | BadScore:
        """The model's first output for one image => scores.

        Raises ValueError if an index exceeds the number of outputs.
        """
        logits = np.asarray(output, np.float64).ravel()
        top = max(self.outputs.values())
        if top >= logits.size:
            raise ValueError(
                f"expected indices below {logits.size}, got {top}: the classifier "
                f"has {logits.size} outputs; correct the indices in the recipe"
            )
        if not np.isfinite(logits).all():
            return BadScore("the classifier's output is not finite")
        if self.activation == "sigmoid":
            logits = 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        elif self.activation == "softmax":
            powers = np.exp(logits - logits.max())
            logits = powers / powers.sum()
        return {name: float(logits[index]) for name, index in self.outputs.items()}


class OnnxScorer:
    """A classifier in an ONNX file with one input; its first output is used."""

    def __init__(
        self, weights: bytes | Path, format: ClassifierFormat, *, num_threads: int = 1
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            read_weights(weights), options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(
                f"expected a classifier with one input, got {[i.name for i in inputs]}: export it "
                "with the image as its only input"
            )
        self._input = inputs[0].name
        self._format = format

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._format.outputs)

    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order."""
        feeds = ({self._input: self._format.prepare(image)} for image in images)
        return [self._format.read(self._session.run(None, feed)[0]) for feed in feeds]


class TorchScorer:
    """A classifier in a `torch.export` (.pt2) or TorchScript (any other suffix) file.

    TorchScript is a program: loading a file executes what its author wrote, so name only files that
    you trust. A .pt2 file is loaded only if it holds nothing but tensors and torch operators. ONNX
    needs neither trust nor torch.
    """

    def __init__(self, path: Path, format: ClassifierFormat, *, device: str = "cpu") -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"expected a classifier at {path}, got no file: correct the path"
            )
        self._model = _load_program(Path(path)).to(device)
        self._device = device
        self._format = format

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._format.outputs)

    @torch.no_grad()
    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order."""
        return [self._format.read(self._output(image)) for image in images]

    def _output(self, image: Pixels) -> npt.NDArray[Any]:
        output = self._model(torch.from_numpy(self._format.prepare(image)).to(self._device))
        first = output[0] if isinstance(output, tuple | list) else output
        return np.asarray(first.float().cpu())


def _load_program(path: Path) -> Any:
    if path.suffix == ".pt2":
        return load_exported(path)
    return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]  # untyped


class ScorerPanel:
    """Several scorers as one, under the attribute names of a recipe.

    `sources` maps an attribute to (scorer, the scorer's name for it). Each scorer sees an image
    once, however many attributes it provides.
    """

    def __init__(self, sources: dict[str, tuple[Scorer, str]]) -> None:
        for attribute, (scorer, name) in sources.items():
            if name not in scorer.names:
                raise ValueError(
                    f"expected attribute {attribute!r} to name one of its scorer's outputs "
                    f"{sorted(scorer.names)}, got {name!r}"
                )
        self.names = tuple(sources)
        self._sources = sources
        self._scorers = list({id(scorer): scorer for scorer, _ in sources.values()}.values())

    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order; any BadScore rejects the image."""
        results = {id(scorer): scorer.score(images) for scorer in self._scorers}
        return [self._join(results, i) for i in range(len(images))]

    def _join(self, results: dict[int, list[Scores | BadScore]], i: int) -> Scores | BadScore:
        scores: Scores = {}
        for attribute, (scorer, name) in self._sources.items():
            result = results[id(scorer)][i]
            if isinstance(result, BadScore):
                return result
            scores[attribute] = result[name]
        return scores
