"""Scores by name: MediaPipe's on faces, and classifiers the user brings."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED
from invertory.scoring import (
    BLENDSHAPES,
    POSE,
    BadScore,
    ClassifierFormat,
    FaceScorer,
    OnnxScorer,
    ScorerPanel,
    TorchScorer,
    head_pose,
)

SHARED = (Path(__file__).resolve().parents[2] / "../shared").resolve()
RED = np.full((20, 30, 3), (255, 51, 0), np.uint8)
RAW = ClassifierFormat(
    outputs={"red": 0, "green": 1, "blue": 2}, size_px=8, mean=(0, 0, 0), std=(1, 1, 1)
)


def photograph(name):
    path = SHARED / "data/frll" / name
    if not path.is_file():
        pytest.skip(f"../shared/data/frll/{name} is absent: nothing was scored")
    return np.asarray(Image.open(path).convert("RGB").resize((540, 540)))


@pytest.fixture(scope="module")
def scorer():
    try:
        weights = ModelStore().fetch(PINNED["face-landmarker"].source)
    except Exception as error:
        pytest.skip(f"the weights face-landmarker could not be had: {error}")
    with FaceScorer(weights, ["smile", *POSE, *BLENDSHAPES]) as scorer:
        yield scorer


@pytest.mark.download
@pytest.mark.parametrize("person", ["020", "045", "102"])
def test_a_smile_scores_higher_than_a_neutral_face(scorer, person):
    neutral, smiling = scorer.score([photograph(f"{person}_{i}.jpg") for i in ("03", "08")])
    assert neutral["smile"] < 0.3 < 0.5 < smiling["smile"]
    assert smiling["smile"] == pytest.approx(
        (smiling["mouthSmileLeft"] + smiling["mouthSmileRight"]) / 2
    )


@pytest.mark.download
def test_mirroring_negates_yaw_and_roll_and_keeps_pitch(scorer):
    tilted = np.asarray(Image.fromarray(photograph("020_03.jpg")).rotate(-12))  # clockwise
    plain, mirrored = scorer.score([tilted, tilted[:, ::-1]])
    assert plain["roll_deg"] == pytest.approx(12, abs=2.5)
    assert mirrored["roll_deg"] == pytest.approx(-plain["roll_deg"], abs=2)
    assert mirrored["yaw_deg"] == pytest.approx(-plain["yaw_deg"], abs=2)
    assert mirrored["pitch_deg"] == pytest.approx(plain["pitch_deg"], abs=2)


@pytest.mark.download
def test_an_image_without_a_face_is_not_scored(scorer):
    face = photograph("020_03.jpg")
    bad, good = scorer.score([np.zeros((128, 128, 3), np.uint8), face])
    assert isinstance(bad, BadScore) and "no face" in bad.reason
    assert good == scorer.score([face])[0]


def test_unknown_face_scores_are_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"'beauty'.*smile.*yaw_deg.*jawOpen"):
        FaceScorer(b"", ["smile", "beauty"])


def rotation(axis, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def test_head_pose_takes_its_rotation_apart():
    matrix = np.eye(4)
    matrix[:3, :3] = 1.3 * rotation("y", 25) @ rotation("x", -10) @ rotation("z", -7)
    assert head_pose(matrix) == pytest.approx((25, 10, 7))


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def entry(number, value):
    """A protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_mean() -> bytes:
    """An ONNX model: image [1, 3, H, W] => mean of each channel [1, 3, 1, 1]."""

    def value(name, shape):
        dims = b"".join(entry(1, entry(1, size)) for size in shape)
        return entry(1, name) + entry(2, entry(1, entry(1, 1) + entry(2, dims)))  # float tensor

    node = entry(1, "x") + entry(2, "y") + entry(4, "GlobalAveragePool")
    shapes = entry(11, value("x", (1, 3, 8, 8))) + entry(12, value("y", (1, 3, 1, 1)))
    graph = entry(1, node) + entry(2, "mean") + shapes
    return entry(1, 8) + entry(7, graph) + entry(8, entry(2, 13))  # IR 8, opset 13


def test_an_onnx_classifier_scores_each_image():
    red, blue = OnnxScorer(onnx_mean(), RAW).score([RED, RED[..., ::-1]])
    assert red == pytest.approx({"red": 1.0, "green": 0.2, "blue": 0.0})
    assert blue == pytest.approx({"red": 0.0, "green": 0.2, "blue": 1.0})


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize("kind", ["script", "export"])
def test_a_torch_classifier_scores_each_image(kind, tmp_path):
    example = torch.zeros(1, 3, 8, 8)
    if kind == "script":
        path = tmp_path / "classifier.pt"
        torch.jit.save(torch.jit.trace(Mean(), example), str(path))
    else:
        path = tmp_path / "classifier.pt2"
        torch.export.save(torch.export.export(Mean(), (example,)), path)
    scorer = TorchScorer(path, RAW)
    assert scorer.names == ("red", "green", "blue")
    assert scorer.score([RED]) == [pytest.approx({"red": 1.0, "green": 0.2, "blue": 0.0})]


def test_a_missing_classifier_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a classifier at"):
        TorchScorer(tmp_path / "none.pt", RAW)


def test_preparation_follows_the_reading():
    format_ = ClassifierFormat(
        outputs={"a": 0}, size_px=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1), channels="bgr"
    )
    prepared = format_.prepare(RED)
    assert prepared.shape == (1, 3, 4, 4) and prepared.dtype == np.float32
    np.testing.assert_allclose(prepared[0, :, 0, 0], [-1, -1.2, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "expected"), [("none", 2.0), ("sigmoid", 0.880797), ("softmax", 0.705385)]
)
def test_logits_are_read_as_told(activation, expected):
    format_ = ClassifierFormat(outputs={"a": 1}, activation=activation)
    assert format_.read(np.array([[1.0, 2.0, -1.0]]))["a"] == pytest.approx(expected, abs=1e-5)


def test_large_logits_do_not_overflow():
    format_ = ClassifierFormat(outputs={"a": 0}, activation="sigmoid")
    assert format_.read(np.array([-1000.0]))["a"] == 0.0


def test_an_index_beyond_the_output_is_an_error():
    with pytest.raises(ValueError, match="has 2 outputs"):
        ClassifierFormat(outputs={"a": 5}).read(np.zeros(2))


def test_outputs_that_are_not_finite_are_no_scores():
    assert isinstance(ClassifierFormat(outputs={"a": 0}).read(np.array([np.nan])), BadScore)


class Counting:
    """Scores an image by its mean, and counts its calls."""

    names = ("mean", "peak")

    def __init__(self):
        self.calls = 0

    def score(self, images):
        self.calls += 1
        return [
            {"mean": float(p.mean()), "peak": float(p.max())} if p.any() else BadScore("black")
            for p in images
        ]


def test_a_panel_renames_and_asks_each_scorer_once():
    scorer = Counting()
    panel = ScorerPanel({"light": (scorer, "mean"), "top": (scorer, "peak")})
    assert panel.names == ("light", "top")
    assert panel.score([RED, RED * 0]) == [{"light": 102.0, "top": 255.0}, BadScore("black")]
    assert scorer.calls == 1


def test_a_panel_refuses_a_score_its_scorer_does_not_have():
    with pytest.raises(ValueError, match=r"outputs .*'mean'.* got 'age'"):
        ScorerPanel({"age": (Counting(), "age")})


class Trap:
    """Unpickling one creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def rewritten(path, change):
    """The archive with each member (name, bytes) replaced by `change`; None removes it."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for pair in [made for member in members for made in change(*member)]:
            archive.writestr(*pair)


def pickled(trap):
    buffer = io.BytesIO()
    torch.save((Trap(trap),), buffer)
    return buffer.getvalue()


def edited(old, new):
    def change(name, data):
        is_graph = name.endswith(".json") or b"use_pickle" in data
        return [(name, data.replace(old, new) if is_graph else data)]

    return change


ATTACKS = {
    "sample inputs": lambda trap: lambda name, data: [
        (name, pickled(trap) if name.endswith(".pt") else data)
    ],
    "pickled weight": lambda trap: edited(b'"use_pickle": false', b'"use_pickle": true'),
    "another operator": lambda trap: edited(b"torch.ops.aten.mean.dim", b"torch.hub.load"),
    "an expression": lambda trap: edited(b"Symbol('s", f"open('{trap}', 'w') or ('s".encode()),
    "a guard": lambda trap: edited(
        b'"guards_code": []', f'"guards_code": ["open(\'{trap}\', \'w\')"]'.encode()
    ),
    "a library": lambda trap: lambda name, data: [
        (name, data), *([("m/data/aotinductor/m/x.so", b"x")] if name.endswith("order") else [])
    ],
    "a second member": lambda trap: lambda name, data: [
        (name, data), *([(name.upper(), data)] if name.endswith(".pt") else [])
    ],
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_exported_program_that_could_run_code_is_refused(attack, tmp_path):
    size = {0: torch.export.Dim("n", min=2)}
    program = torch.export.export(
        Weighted(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes={"x": size}
    )
    path, trap = tmp_path / "m.pt2", tmp_path / "trap"
    torch.export.save(program, path)
    TorchScorer(path, RAW)
    rewritten(path, ATTACKS[attack](trap))
    with pytest.raises(ValueError, match=r"is refused.*ONNX"):
        TorchScorer(path, RAW)
    assert not trap.exists()


class Weighted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) * self.scale
