"""Errors within and beside objects, masks and contact sheets, where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.compare import objects
from benchmarks.compare.budgets import OOD_SEED, PORTRAITS
from benchmarks.compare.contact import MAPS, TRUE_MASKS, object_rows
from benchmarks.compare.domains import PictureSet, drawn
from benchmarks.compare.rows import KINDS_SHOWN, shown_rows
from benchmarks.compare.store import Kept
from invertory.portraits import World


@pytest.fixture(scope="module")
def chosen() -> PictureSet:
    return drawn("portraits_ood", 16, OOD_SEED, World(ood=1.0), 16)


def corner() -> torch.Tensor:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4, :4] = 1
    return mask


def test_an_error_within_an_object_is_told_apart_from_one_beside_it() -> None:
    targets, made = torch.zeros(1, 3, 8, 8), 0.2 * corner().expand(-1, 3, -1, -1)
    found = objects.errors(made, targets, corner())
    assert found[objects.INSIDE_MSE][0] == pytest.approx(0.04)
    assert found[objects.OUTSIDE_MSE][0] == 0
    assert found[objects.INSIDE][0] == pytest.approx(20.0)
    assert math.isinf(found[objects.OUTSIDE][0])


def test_a_picture_without_objects_has_no_error_within() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    found = objects.errors(torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), nothing)
    assert np.isnan(found[objects.INSIDE_MSE][0])


def test_the_true_mask_has_an_iou_of_1_and_its_area() -> None:
    found = objects.masked(corner(), corner())
    assert found[objects.IOU].tolist() == [1.0]
    assert found[objects.AREA].tolist() == found[objects.TRUE_AREA].tolist() == [0.25]
    assert found[objects.RANDOM_IOU][0] == pytest.approx(0.0625 / 0.4375)


def test_the_mask_in_the_middle_has_as_many_pixels() -> None:
    middle = objects.centred(corner())
    assert middle.sum() == 16
    assert bool(middle[..., 3:5, 3:5].all())
    assert middle.flip(-1).flip(-2)[..., 2:6, 2:6].sum() == 16 or middle[..., 2:6, 2:6].sum() >= 12


def test_an_edit_beside_the_object_leaves_it_alone() -> None:
    targets = torch.zeros(1, 3, 8, 8)
    after = 0.5 * (1 - corner()).expand(-1, 3, -1, -1)
    found = objects.edited(targets, after, targets, corner())
    assert found[objects.RISE_INSIDE][0] == found[objects.CHANGE_INSIDE][0] == 0
    assert found[objects.CHANGE_OUTSIDE][0] == pytest.approx(0.25)


def test_drawn_portraits_know_where_their_objects_are(chosen: PictureSet) -> None:
    assert chosen.objects is not None
    assert chosen.objects.shape == (16, 1, 16, 16)
    assert (chosen.objects.sum((1, 2, 3)) > 0).float().mean() > 0.9


def test_the_sheet_shows_hats_masks_and_microphones_with_their_maps(chosen: PictureSet) -> None:
    rows = shown_rows(chosen)
    shown = chosen.truth(KINDS_SHOWN)[rows]
    assert bool((shown.sum(1) >= 1).all())
    images = {
        "portraits_ood": torch.zeros(len(rows), 3, 16, 16),
        "portraits_ood/mask": torch.ones(len(rows), 3, 16, 16),
        "portraits_ood/edited": torch.zeros(len(rows), 3, 16, 16),
    }
    arm = PORTRAITS.arm("image2stylegan")
    found = object_rows(chosen, [arm], {arm.name: Kept(pictures=images, notes={"edited": "smile"})})
    assert [row.name for row in found] == ["portraits with objects", arm.name, arm.name]
    assert found[0].captions == ("pictures", TRUE_MASKS)
    assert found[1].captions == ("inverted", "edited: + smile")
    assert found[2].captions == (MAPS["mask"], TRUE_MASKS)  # no column is left empty
    assert {len(group.pictures) for row in found for group in row.groups} == {len(rows)}


def test_methods_without_maps_have_no_row_for_them(chosen: PictureSet) -> None:
    made = {"portraits_ood": torch.zeros(len(shown_rows(chosen)), 3, 16, 16)}
    arms = [PORTRAITS.arm(name) for name in ("image2stylegan", "e4e")]
    found = object_rows(chosen, arms, {arm.name: Kept(pictures=dict(made)) for arm in arms})
    assert [row.name for row in found[1:]] == ["image2stylegan", "e4e"]
    assert all(row.captions == ("inverted",) for row in found[1:])


def test_masks_over_the_mouth_are_among_the_shown_ones() -> None:
    chosen = drawn("portraits_ood", 32, OOD_SEED, World(ood=1.0), 16)
    things = [chosen.portraits[row].ood[0] for row in shown_rows(chosen).tolist()]
    assert [thing.kind for thing in things] == ["hat"] * 2 + ["mask"] * 2 + ["microphone"] * 2
    for kind in KINDS_SHOWN:
        assert len({thing.variant for thing in things if thing.kind == kind}) == 2
