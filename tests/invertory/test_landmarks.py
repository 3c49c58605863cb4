"""Faces are found, largest first, in image coordinates, independent of previous images."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invertory.alignment import anchors_from_landmarks
from invertory.landmarks import Dlib, YuNetMediaPipe, hide_startup_notices
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

SHARED = (Path(__file__).resolve().parents[2] / "../shared").resolve()


def weights(name):
    try:
        return ModelStore().fetch(PINNED[name].source)
    except Exception as error:
        pytest.skip(f"the weights {name} could not be had: {error}")


def photograph(name):
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is absent: faces were not looked for")
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def detector():
    with YuNetMediaPipe(weights("yunet"), weights("face-landmarker")) as detector:
        yield detector


def template(person):
    """Hand-made anchors: pupils (points 0, 1) and mouth corners (87, 93)."""
    lines = (SHARED / "data/frll" / f"{person}_03.tem").read_text().splitlines()[1:190]
    return np.array([[float(n) for n in line.split()] for line in lines])[[0, 1, 87, 93]]


@pytest.mark.download
@pytest.mark.parametrize("person", ["020", "045", "121", "068"])
def test_anchors_are_near_the_hand_made_ones(detector, person):
    (face,) = detector.detect(photograph(f"frll/{person}_03.jpg"))
    expected = template(person)
    error = np.hypot(*(face.anchors - expected).T) / np.hypot(*(expected[1] - expected[0]))
    assert error.mean() < 0.045  # relative to the distance between the pupils
    assert face.confidence > 0.8
    left, top, right, bottom = face.box
    assert ((face.anchors > [left, top]) & (face.anchors < [right, bottom])).all()


@pytest.mark.download
def test_anchors_do_not_depend_on_what_was_seen_before(detector):
    first, other = photograph("frll/020_03.jpg"), photograph("dlib_examples/2008_004176.jpg")
    before = detector.detect(first)
    detector.detect(other)
    detector.detect(np.zeros((40, 300, 3), np.uint8))
    after = detector.detect(first)
    np.testing.assert_array_equal(before[0].anchors, after[0].anchors)
    assert before[0].box == after[0].box


@pytest.mark.download
def test_mirroring_a_image_mirrors_its_anchors(detector):
    image = photograph("frll/121_03.jpg")
    (face,), (mirrored,) = detector.detect(image), detector.detect(image[:, ::-1])
    back = mirrored.anchors[[1, 0, 3, 2]] * [-1, 1] + np.array([image.shape[1] - 1, 0])
    error = np.abs(back - face.anchors) / np.hypot(*(face.anchors[1] - face.anchors[0]))
    assert error[:2].max() < 0.01 and error[2:].max() < 0.03


@pytest.mark.download
def test_faces_of_a_group_come_by_falling_area(detector):
    faces = detector.detect(photograph("dlib_examples/2007_007763.jpg"))
    areas = [face.area for face in faces]
    assert len(faces) == 7 and areas == sorted(areas, reverse=True)
    centres = np.array([face.anchors.mean(0) for face in faces])
    apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) + np.eye(7) * 999
    assert apart.min() > 15  # px: no face is found twice


@pytest.mark.download
def test_a_close_up_and_a_small_face_give_the_same_anchors(detector):
    image = photograph("frll/020_03.jpg")
    close = image[330:1080, 330:1020]
    (near,), (whole,) = detector.detect(close), detector.detect(image)
    assert (
        np.abs(near.anchors + np.array([330, 330]) - whole.anchors).max() < 8
    )  # px; the pupils are 211 px apart
    small = np.asarray(Image.fromarray(image).resize((270, 270), Image.Resampling.LANCZOS))
    (little,) = detector.detect(small)
    assert np.abs((little.anchors + 0.5) * 5 - 0.5 - whole.anchors).max() < 10


@pytest.mark.download
@pytest.mark.parametrize("shape", [(64, 64), (64, 3000), (3000, 64), (16, 16), (1, 5000)])
def test_images_without_a_face_give_none(detector, shape):
    ramp = np.linspace(0, 255, shape[0] * shape[1], dtype=np.uint8).reshape(*shape, 1)
    assert detector.detect(np.repeat(ramp, 3, axis=2)) == []


def test_dlib_that_is_missing_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ImportError, match=r"pip install invertory\[dlib\]"):
        Dlib(tmp_path / "shape_predictor.dat")


@pytest.mark.download
def test_dlib_gives_its_68_points():
    pytest.importorskip("dlib", reason="dlib is not installed: pip install invertory[dlib]")
    (face,) = Dlib(weights("dlib-68")).detect(photograph("frll/020_03.jpg"))
    error = np.hypot(*(face.anchors - template("020")).T).mean()
    assert error < 0.06 * 211  # px between the pupils
    assert face.landmarks is not None
    np.testing.assert_array_equal(anchors_from_landmarks(face.landmarks), face.anchors)


def test_quiet_holds_back_notices_and_lets_errors_through(capfd):
    with hide_startup_notices():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"E0000 something is wrong\n")
    assert capfd.readouterr().err == "E0000 something is wrong\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
