"""Scorers: pictures to raw scores by name; what is above a threshold is a label elsewhere.

MediaPipe's blendshapes and head pose for faces, and classifiers the user brings as ONNX,
`torch.export` or TorchScript files; the last is a program that runs. A scorer's output for an image
depends on that image alone.
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
from invertory.landmarks import Closing, FaceLandmarker, read_weights

Vector = npt.NDArray[np.float64]
Scores = dict[str, float]

# Names of our own => the blendshapes they average, each in 0..1; any blendshape goes by its name.
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
    """A picture that could not be scored."""

    reason: str


class Scorer(Protocol):
    """Gives each picture a score under each of `names`, or says why not."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N pictures uint8 [H, W, 3] => N results, in order."""
        ...


class FaceScorer(Closing):
    """MediaPipe's scores of the most certain face on a crop. Close it, or use `with`.

    Names: those of EXPRESSIONS and BLENDSHAPES (0..1, left and right are the person's), and the
    head's pose in degrees. yaw_deg > 0: the face looks to the right of the picture; pitch_deg > 0:
    it looks up; roll_deg > 0: it is turned clockwise as seen. Mirroring a picture negates yaw and
    roll.
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

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N pictures uint8 [H, W, 3] => N results, in order."""
        return [self._score(picture) for picture in pictures]

    def _score(self, picture: Pixels) -> Scores | BadScore:
        found = self._landmarker.detect(picture)
        if not found.face_blendshapes:
            return BadScore("no face on the crop")
        shapes = {shape.category_name: shape.score for shape in found.face_blendshapes[0]}
        scores = {
            name: float(np.mean([shapes[part] for part in parts]))
            for name, parts in EXPRESSIONS.items()
        }
        pose = head_pose(np.asarray(found.facial_transformation_matrixes[0], np.float64))
        scores |= {**shapes, **dict(zip(POSE, pose, strict=True))}
        return {name: float(scores[name]) for name in self.names}


def head_pose(matrix: Vector) -> tuple[float, float, float]:
    """MediaPipe's face matrix [4, 4] => (yaw, pitch, roll) in degrees; signs as in `FaceScorer`.

    Its space is right-handed: x right, y up, z towards the camera.
    R = Ry(yaw) Rx(-pitch) Rz(-roll).
    """
    rotation = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))  # without the scale
    forward = rotation[:, 2]  # where the nose points
    yaw = np.arctan2(forward[0], forward[2])
    pitch = np.arcsin(np.clip(forward[1], -1, 1))
    roll = -np.arctan2(rotation[1, 0], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a classifier takes a picture and how its output is read.

    The picture is resized to `size_px` (Lanczos), divided by 255, `mean` subtracted, divided by
    `std`, laid out [1, 3, size_px, size_px]. `outputs` gives each name the index of its logit in
    the flattened output; with "softmax" the probability is taken over the whole output.
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
                f"expected a size of at least 1 px and names with indices from 0, "
                f"got {self.size_px} and {self.outputs}"
            )

    def prepare(self, picture: Pixels) -> npt.NDArray[np.float32]:
        """uint8 [H, W, 3] => float32 [1, 3, size_px, size_px]."""
        levels = resize(picture, self.size_px, self.size_px).astype(np.float32) / 255
        if self.channels == "bgr":
            levels = levels[:, :, ::-1]
        normal = (levels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)

    def read(self, output: npt.NDArray[Any]) -> Scores | BadScore:
        """The model's first output for one picture => scores."""
        logits = np.asarray(output, np.float64).ravel()
        top = max(self.outputs.values())
        if top >= logits.size:
            raise ValueError(
                f"the classifier has {logits.size} outputs, the recipe asks for index {top}"
            )
        if not np.isfinite(logits).all():
            return BadScore("the classifier's output is not finite")
        if self.activation == "sigmoid":
            logits = 0.5 * (1 + np.tanh(0.5 * logits))  # no overflow
        elif self.activation == "softmax":
            powers = np.exp(logits - logits.max())
            logits = powers / powers.sum()
        return {name: float(logits[index]) for name, index in self.outputs.items()}


class OnnxScorer:
    """A classifier as an ONNX file with one picture in; its first output is read."""

    def __init__(self, weights: bytes | Path, reading: Reading, *, num_threads: int = 1) -> None:
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
                f"expected a classifier with one input, got {[i.name for i in inputs]}"
            )
        self._input = inputs[0].name
        self._reading = reading

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._reading.outputs)

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N pictures uint8 [H, W, 3] => N results, in order."""
        feeds = ({self._input: self._reading.prepare(picture)} for picture in pictures)
        return [self._reading.read(self._session.run(None, feed)[0]) for feed in feeds]


class TorchScorer:
    """A classifier as a `torch.export` (.pt2) or TorchScript (any other suffix) file.

    TorchScript is a program: loading one runs what its author wrote, so name only files that you
    trust. A .pt2 file is loaded where it holds tensors and operators of torch alone, and refused
    otherwise. ONNX needs neither trust nor torch.
    """

    def __init__(self, path: Path, reading: Reading, *, device: str = "cpu") -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"no classifier at {path}")
        self._model = _load_program(Path(path)).to(device)
        self._device = device
        self._reading = reading

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._reading.outputs)

    @torch.no_grad()
    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N pictures uint8 [H, W, 3] => N results, in order."""
        return [self._reading.read(self._output(picture)) for picture in pictures]

    def _output(self, picture: Pixels) -> npt.NDArray[Any]:
        output = self._model(torch.from_numpy(self._reading.prepare(picture)).to(self._device))
        first = output[0] if isinstance(output, tuple | list) else output
        return np.asarray(first.float().cpu())


def _load_program(path: Path) -> Any:
    if path.suffix == ".pt2":
        return load_exported(path)
    return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]  # untyped


class Panel:
    """Several scorers as one, under the names of a recipe's attributes.

    `sources` maps an attribute to (scorer, the scorer's name for it); each scorer looks at a
    picture once, however many attributes it gives.
    """

    def __init__(self, sources: dict[str, tuple[Scorer, str]]) -> None:
        for attribute, (scorer, name) in sources.items():
            if name not in scorer.names:
                raise ValueError(
                    f"attribute {attribute!r} asks its scorer for {name!r}; it has "
                    f"{sorted(scorer.names)}"
                )
        self.names = tuple(sources)
        self._sources = sources
        self._scorers = list({id(scorer): scorer for scorer, _ in sources.values()}.values())

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N pictures uint8 [H, W, 3] => N results, in order; the first reason against counts."""
        given = {id(scorer): scorer.score(pictures) for scorer in self._scorers}
        return [self._joined(given, i) for i in range(len(pictures))]

    def _joined(self, given: dict[int, list[Scores | BadScore]], i: int) -> Scores | BadScore:
        scores: Scores = {}
        for attribute, (scorer, name) in self._sources.items():
            result = given[id(scorer)][i]
            if isinstance(result, BadScore):
                return result
            scores[attribute] = result[name]
        return scores
