"""Segments of photographs from a mesh: drawn outlines, and MediaPipe's if available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.alignment import align_face
from invertory.face_mesh import (
    LEFT_BROW,
    LEFT_LIDS,
    LIPS,
    OUTLINES,
    OVAL,
    RIGHT_BROW,
    RIGHT_LIDS,
    SEGMENTS,
    MeshParser,
    fill_outlines,
)
from invertory.images import to_tensor
from invertory.inversion.sam.choice import SpaceChoiceConfig
from invertory.inversion.sam.spaces import segment_images
from invertory.landmarks import YuNetMediaPipe
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

SHARED = (Path(__file__).resolve().parents[2] / "../shared").resolve()


def circle(ring: tuple[int, ...], centre: tuple[float, float], radius: float, mesh: np.ndarray):
    """The ring's points evenly on a circle."""
    for k, index in enumerate(ring):
        turn = 2 * np.pi * k / len(ring)
        mesh[index] = np.array(centre) + radius * np.array([np.cos(turn), np.sin(turn)])


@pytest.fixture
def mesh() -> np.ndarray:
    """Circles on 64 px: a face of radius 24, and its features."""
    found = np.full((478, 2), 32.0)
    circle(OVAL, (32, 32), 24, found)
    for ring, x in ((LEFT_LIDS, 24), (RIGHT_LIDS, 40)):
        circle(ring, (x, 26), 3, found)
    for ring, x in ((LEFT_BROW, 24), (RIGHT_BROW, 40)):
        circle(ring, (x, 18), 3, found)
    circle(LIPS, (32, 44), 5, found)
    return found


def test_outlines_are_filled_each_with_its_segment(mesh):
    found = fill_outlines(mesh, (64, 64))
    at = {(32, 32): "skin", (24, 26): "eyes", (40, 26): "eyes", (24, 18): "brows"}
    at |= {(40, 18): "brows", (32, 44): "mouth", (2, 2): "background", (60, 60): "background"}
    assert {place: SEGMENTS[found[place[1], place[0]]] for place in at} == at
    shares = np.bincount(found.ravel(), minlength=len(SEGMENTS)) / found.size
    assert shares[0] == pytest.approx(1 - np.pi * 24**2 / 64**2, abs=0.03)
    assert shares[SEGMENTS.index("mouth")] == pytest.approx(np.pi * 25 / 64**2, rel=0.25)


def test_a_mirrored_mesh_gives_mirrored_segments(mesh):
    mirrored = mesh * np.array([-1, 1]) + np.array([63, 0])
    differs = fill_outlines(mirrored, (64, 64)) != fill_outlines(mesh, (64, 64))[:, ::-1]
    assert differs.mean() < 0.01  # borders are inclusive on one side


def test_a_mesh_that_leaves_the_image_is_cut(mesh):
    found = fill_outlines(mesh + np.array([40, 0]), (64, 64))
    assert SEGMENTS[found[32, 63]] == "skin" and not found[:, :40].any()


def test_the_rings_are_the_landmarkers_outlines():
    from mediapipe.tasks.python.vision import FaceLandmarksConnections as Connections

    told = {
        OVAL: Connections.FACE_LANDMARKS_FACE_OVAL,
        RIGHT_BROW: Connections.FACE_LANDMARKS_LEFT_EYEBROW,  # theirs are the person's
        LEFT_BROW: Connections.FACE_LANDMARKS_RIGHT_EYEBROW,
        RIGHT_LIDS: Connections.FACE_LANDMARKS_LEFT_EYE,
        LEFT_LIDS: Connections.FACE_LANDMARKS_RIGHT_EYE,
        LIPS: Connections.FACE_LANDMARKS_LIPS,
    }
    assert set(told) == {ring for _, ring in OUTLINES}
    for ring, connections in told.items():
        theirs = {frozenset((one.start, one.end)) for one in connections}
        ours = {frozenset(pair) for pair in zip(ring, (*ring[1:], ring[0]), strict=True)}
        # a brow is two lines, which we join at its ends; of the lips we take the outer ring
        assert len(ours - theirs) == (2 if len(ring) == 10 else 0)
        assert len(ours) == len(ring)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="parser: auto, which fetches it"):
        MeshParser(tmp_path / "face_landmarker.task")
    with pytest.raises(ValueError, match="a zip, got 5 bytes"):
        MeshParser(b"other")


@pytest.fixture(scope="module")
def weights() -> Path:
    try:
        return ModelStore().fetch(PINNED["face-mesh-parser"].source)
    except Exception as error:
        pytest.skip(f"the weights face-mesh-parser could not be had: {error}")


@pytest.fixture(scope="module")
def crops(weights: Path) -> Tensor:
    """Two aligned photographs and one blank image; [3, 3, 256, 256]."""
    yunet = ModelStore().fetch(PINNED["yunet"].source)
    found = []
    with YuNetMediaPipe(yunet, weights) as detector:
        for name in ("frll/020_03.jpg", "frll/121_03.jpg"):
            path = SHARED / "data" / name
            if not path.is_file():
                pytest.skip(f"../shared/data/{name} is absent: no photograph was segmented")
            image = np.asarray(Image.open(path).convert("RGB"))
            anchors = detector.detect(image)[0].anchors
            found.append(align_face(image, anchors, size_px=256).pixels)
    return torch.cat([to_tensor(found), torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)])


@pytest.mark.download
def test_faces_of_photographs_have_their_segments_and_nothing_has_none(weights, crops):
    found = MeshParser(weights).segment(crops)
    assert found.shape == (3, 256, 256) and found.dtype == torch.uint8
    assert not found[2].any()
    for one in found[:2]:
        at = {(128, 156): "skin", (5, 128): "background", (250, 250): "background"}
        assert {place: SEGMENTS[one[place[1], place[0]]] for place in at} == at
        shares = torch.bincount(one.flatten().int(), minlength=5) / one.numel()
        assert 0.15 < float(shares[1]) < 0.45 and float(shares[2:].min()) > 0.002


@pytest.mark.download
def test_a_smaller_image_has_nearly_the_same_segments_alone_or_in_a_batch(weights, crops):
    parser = MeshParser(weights)
    small = parser.segment(interpolate(crops, size=(128, 128), mode="area"))
    assert float((small != parser.segment(crops)[:, ::2, ::2]).float().mean()) < 0.03
    alone = segment_images(parser, interpolate(crops, size=(128, 128), mode="area"), ())
    assert torch.equal(alone, small.long())


@pytest.mark.download
def test_a_face_counts_as_one_by_default(weights, crops):
    fused = segment_images(MeshParser(weights), crops[:1], SpaceChoiceConfig().fused)
    assert fused.unique().tolist() == [0, 1]
