import math

import pytest
import torch

from invertory.metrics.ood_masks import (
    by_kind,
    chance_iou,
    mask_iou,
    ood_area,
    pooled_iou,
    soft_iou,
)


def halves(*values):
    """Masks of 4 x 4 px whose left half has this value."""
    masks = torch.zeros(len(values), 1, 4, 4)
    masks[..., :2] = torch.tensor(values)[:, None, None, None]
    return masks


def test_the_area_is_the_mean_intensity():
    assert ood_area(halves(0.0, 0.5, 1.0)).tolist() == [0.0, 0.25, 0.5]


def test_the_union_is_1_for_the_truth_and_0_for_its_opposite():
    truth = halves(1.0)
    for iou in (soft_iou, mask_iou):
        assert iou(truth, truth).tolist() == [1.0]
        assert iou(1 - truth, truth).tolist() == [0.0]
    assert soft_iou(halves(0.25), truth).tolist() == [0.25]
    assert mask_iou(halves(0.25), truth).tolist() == [0.0]
    assert mask_iou(halves(0.25), truth, threshold=0.2).tolist() == [1.0]
    assert mask_iou(torch.ones(1, 1, 4, 4), truth).tolist() == [0.5]


def test_an_image_without_objects_has_no_union_unless_some_are_told():
    truth = halves(0.0, 0.0)
    found = mask_iou(halves(0.0, 1.0), truth)
    assert math.isnan(found[0]) and found[1] == 0


def test_pooled_counts_weigh_pixels_alike():
    told, truth = halves(1.0, 1.0), torch.cat([halves(1.0), torch.ones(1, 1, 4, 4)])
    assert mask_iou(told, truth).tolist() == [1.0, 0.5]
    assert pooled_iou(told, truth) == pytest.approx(16 / 24)
    assert math.isnan(pooled_iou(halves(0.0), halves(0.0)))


def test_chance_is_what_pixels_thrown_at_random_come_to():
    rng = torch.Generator().manual_seed(0)
    told, truth = (torch.rand(1, 1, 500, 500, generator=rng) < p for p in (0.3, 0.1))
    assert pooled_iou(told, truth) == pytest.approx(chance_iou(0.3, 0.1), abs=5e-3)
    assert math.isnan(chance_iou(0.0, 0.0))


def test_kinds_have_their_own_means():
    values = torch.tensor([0.2, 0.4, torch.nan])
    shown = {
        "hat": torch.tensor([1, 1, 1]),
        "hand": torch.tensor([0, 1, 0]),
        "text": torch.zeros(3),
    }
    found = by_kind(values, shown)
    assert found["hat"].mean == pytest.approx(0.3) and found["hat"].num == 2
    assert found["hand"].mean == pytest.approx(0.4) and found["hand"].num == 1
    assert math.isnan(found["text"].mean) and found["text"].num == 0


def test_other_shapes_and_values_are_refused():
    with pytest.raises(ValueError, match="resize the mask to the truth"):
        soft_iou(halves(1.0), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="expected masks from 0 to 1"):
        ood_area(halves(2.0))
    with pytest.raises(ValueError, match="expected masks from 0 to 1"):
        ood_area(halves(torch.nan))
    with pytest.raises(ValueError, match=r"expected masks \[N, 1, H, W\]"):
        ood_area(torch.ones(4, 4))
    with pytest.raises(ValueError, match="one truth for each of 1 values"):
        by_kind(torch.ones(1), {"hat": torch.ones(2)})
