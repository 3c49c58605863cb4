"""FFHQ crops equal the official ones, and can be pasted back into the photograph."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from invertory.alignment import (
    align_face,
    anchors_from_landmarks,
    centre_crop,
    face_quad,
    outside_share,
    paste_back,
)

GOLDEN = (Path(__file__).resolve().parents[2] / "../shared/data/golden/ffhq_align").resolve()
PHOTOS = ("astronaut", "big", "border", "plain", "rotated")
ANCHORS = np.array([[100.0, 100.0], [160.0, 100.0], [105.0, 160.0], [155.0, 160.0]])


def photograph(seed: int = 0, height: int = 300, width: int = 280):
    noise = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def golden(photo):
    if not GOLDEN.is_dir():
        pytest.skip(f"../shared/data/golden/ffhq_align is absent: {photo} was not compared")
    case = json.loads((GOLDEN / "cases.json").read_text())["photos"][photo]
    image = np.asarray(Image.open(GOLDEN / case["file"]).convert("RGB"))
    if hashlib.sha256(image.tobytes()).hexdigest() != case["sha256_rgb"]:
        pytest.skip(f"{case['file']} decodes to other pixels here: {photo} was not compared")
    with np.load(GOLDEN / "landmarks_quads.npz", allow_pickle=False) as arrays:
        return image, case["cases"], dict(arrays)


@pytest.mark.parametrize("photo", PHOTOS)
def test_crops_equal_the_official_ones(photo):
    image, cases, arrays = golden(photo)
    anchors = anchors_from_landmarks(arrays[f"{photo}/landmarks"])
    for case in cases:
        options = dict(case["kwargs"])
        crop = align_face(image, anchors, size_px=options.pop("output_size"), **options)
        quad = arrays[f"{photo}/{case['name']}/quad"].reshape(4, 2)
        np.testing.assert_allclose(crop.quad, quad, rtol=0, atol=1e-9)
        official = np.asarray(Image.open(GOLDEN / case["output"]).convert("RGB")).astype(int)
        difference = np.abs(crop.pixels - official)
        assert difference.max() <= (3 if photo == "border" else 2)
        assert difference.mean() <= 0.1


@pytest.mark.parametrize("photo", PHOTOS)
def test_the_default_transform_size_is_close_to_the_official_one(photo):
    image, _, arrays = golden(photo)
    anchors = anchors_from_landmarks(arrays[f"{photo}/landmarks"])
    official = np.asarray(Image.open(GOLDEN / f"{photo}_t4096.png").convert("RGB")).astype(int)
    difference = np.abs(align_face(image, anchors, size_px=256).pixels - official)
    assert difference.max() <= 3 and difference.mean() <= 0.2


def test_the_quad_of_a_level_face_has_known_corners():
    # eyes 60 apart, mouth 60 below: x = (120, 0), centre = (130, 106)
    expected = [[10, -14], [10, 226], [250, 226], [250, -14]]
    np.testing.assert_allclose(face_quad(ANCHORS), expected, atol=1e-12)


@pytest.mark.parametrize("degrees", [-170, -30, 15, 90])
def test_the_quad_turns_and_scales_with_the_face(degrees):
    angle = np.radians(degrees)
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = ANCHORS @ turn.T + [5, -9]
    np.testing.assert_allclose(face_quad(moved), face_quad(ANCHORS) @ turn.T + [5, -9], atol=1e-9)


def test_without_rotate_level_the_quad_stays_upright():
    turned = ANCHORS @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    quad = face_quad(turned, rotate_level=False)
    assert quad[0, 1] == quad[3, 1] and quad[0, 0] == quad[1, 0]


def test_anchors_that_are_no_points_are_refused():
    with pytest.raises(ValueError, match="four finite anchors"):
        face_quad(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match=r"expected landmarks \[68, 2\]"):
        anchors_from_landmarks(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="at least 1 px"):
        align_face(photograph(), (ANCHORS - ANCHORS[0]) / 999, size_px=64)


@pytest.mark.parametrize("size_px", [32, 256])  # 32 is reached by shrinking first
def test_crop_to_source_says_where_a_crop_pixel_comes_from(size_px):
    source = photograph(height=400, width=380)
    crop = align_face(source, ANCHORS * 1.1 + [40, 70], size_px=size_px)
    inner = slice(size_px // 8, -size_px // 8)
    blurred = cv2.GaussianBlur(source, (0, 0), max(0.3, 0.4 * 264 / size_px))

    def error(x, y):  # of the crop predicted from the source moved by (x, y) px
        affine = crop.crop_to_source + np.array([[0, 0, x], [0, 0, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        predicted = cv2.warpAffine(blurred, affine, (size_px, size_px), flags=flags)
        return np.abs(predicted[inner, inner].astype(int) - crop.pixels[inner, inner]).mean()

    assert error(0, 0) < min(error(x, y) for x, y in [(-0.8, 0), (0.8, 0), (0, -0.8), (0, 0.8)])
    assert error(0, 0) < 4


def test_alignment_of_an_aligned_face_is_the_identity():
    first = align_face(photograph(), ANCHORS, size_px=240, transform_size=240)
    inverse = np.linalg.inv(np.vstack([first.crop_to_source, [0, 0, 1]]))[:2]
    anchors = np.c_[ANCHORS, np.ones(4)] @ inverse.T
    again = align_face(first.pixels, anchors, size_px=240)
    np.testing.assert_allclose(again.crop_to_source, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    inner = slice(30, -30)  # the recipe blurs pixels at the photograph's rim
    difference = np.abs(again.pixels[inner, inner].astype(int) - first.pixels[inner, inner])
    assert difference.mean() < 0.5


@pytest.mark.parametrize(
    ("shift", "share"), [((200, 200), 0.0), ((-130, 200), 0.5), ((-900, 0), 1.0)]
)
def test_outside_share_is_the_area_beyond_the_photograph(shift, share):
    quad = face_quad(ANCHORS + shift)
    assert outside_share(quad, 900, 900) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("shift", [(-100, -100), (150, 170), (-400, 0), (600, 600)])
def test_a_face_at_or_beyond_the_edge_still_gives_a_crop(shift):
    crop = align_face(photograph(), ANCHORS + shift, size_px=64)
    assert crop.pixels.shape == (64, 64, 3)


def test_a_very_large_face_is_shrunk_first():
    crop = align_face(photograph(), ANCHORS * 40, size_px=16)
    assert crop.pixels.shape == (16, 16, 3)


def test_centre_crop_takes_the_largest_square():
    source = photograph(height=100, width=160)
    crop = centre_crop(source, size_px=100)
    np.testing.assert_array_equal(crop.pixels, source[:, 30:130])
    np.testing.assert_allclose(crop.crop_to_source, [[1, 0, 30], [0, 1, 0]])
    assert crop.outside_share == 0 and crop.roll_deg == 0


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-12))


def test_pasting_the_unedited_crop_changes_the_photograph_little_and_nothing_outside():
    source = photograph(height=400, width=380)
    turned = (ANCHORS - 130) @ np.array([[0.96, 0.28], [-0.28, 0.96]]) + [190, 190]
    crop = align_face(source, turned, size_px=256)
    pasted = paste_back(source, crop.pixels, crop.crop_to_source)
    mask = np.zeros(source.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(crop.quad).astype(np.int32), 1)
    outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0
    np.testing.assert_array_equal(pasted[outside], source[outside])
    assert psnr(pasted[mask == 1], source[mask == 1]) > 40  # dB


def test_pasting_a_difference_of_nothing_changes_nothing():
    source = photograph()
    crop = align_face(source, ANCHORS, size_px=64)
    pasted = paste_back(source, crop.pixels, crop.crop_to_source, original=crop.pixels)
    np.testing.assert_array_equal(pasted, source)


def test_an_edit_arrives_in_the_middle_and_fades_towards_the_seam():
    source = np.full((300, 280, 3), 100, np.uint8)
    crop = align_face(source, ANCHORS, size_px=64)
    pasted = paste_back(source, np.full_like(crop.pixels, 200), crop.crop_to_source, feather=0.2)
    row = pasted[106, :, 0].astype(int)
    assert row[130] == 200 and row[5] == 100 and 100 < row[20] < row[40] < 200


def test_a_crop_beyond_the_photograph_is_pasted_nowhere():
    source = photograph()
    crop = align_face(source, ANCHORS + 5000, size_px=32)
    np.testing.assert_array_equal(paste_back(source, crop.pixels, crop.crop_to_source), source)


def test_feather_has_bounds():
    with pytest.raises(ValueError, match="feather"):
        paste_back(photograph(), photograph()[:64, :64], np.eye(3)[:2], feather=0.9)
