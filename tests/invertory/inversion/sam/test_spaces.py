"""The space that a segment takes, for predictions made by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from invertory.inversion.sam.spaces import (
    choose_by_class,
    choose_by_segment,
    first_within,
    predict_errors,
    segment_images,
)

SPACES = ("W+", "F4", "F6")


class Told(nn.Module):
    """A predictor that reads its errors from each image's channels."""

    spaces = ("F6", "W+", "F4")

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        self.unit = torch.tensor(unit)

    def forward(self, images: Tensor) -> Tensor:
        assert len(images) == 1  # so that no image's rounding depends on others
        return images


class Halves(nn.Module):
    """A parser: background above, eyes and skin side by side below."""

    segments = ("background", "skin", "eyes")

    def segment(self, images: Tensor) -> Tensor:
        found = torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8)
        found[:, 1:, :1], found[:, 1:, 1:] = 2, 1
        return found


def errors() -> Tensor:
    """[1, 3, 2, 2]: easy, hard in W+, impossible, and on the threshold."""
    told = [[[0.1, 0.5], [0.9, 0.2]], [[0.1, 0.2], [0.8, 0.1]], [[0.0, 0.1], [0.7, 0.0]]]
    return torch.tensor(told)[None]


def test_a_pixel_takes_the_most_editable_space_within_tau_or_else_the_finest() -> None:
    assert first_within(errors(), 0.2).tolist() == [[[0, 1], [2, 0]]]


def test_a_segment_takes_one_space_by_its_mean() -> None:
    segments = torch.tensor([[[0, 0], [3, 3]]])  # means in W+: 0.3 and 0.55; in F4: 0.15 and 0.45
    assert choose_by_segment(errors(), segments, 0.2).tolist() == [[[1, 1], [2, 2]]]
    assert choose_by_segment(errors(), segments, 0.31).tolist() == [[[0, 0], [2, 2]]]
    assert choose_by_segment(errors(), segments, 0.5).tolist() == [[[0, 0], [1, 1]]]


def test_the_finer_the_threshold_the_finer_the_spaces() -> None:
    rng = torch.Generator().manual_seed(0)
    told = torch.rand(4, 5, 8, 8, generator=rng)
    segments = torch.randint(0, 4, (4, 8, 8), generator=rng)
    levels = [choose_by_segment(told, segments, tau) for tau in (0.2, 0.45, 0.5, 0.55, 1.0)]
    assert all((b <= a).all() for a, b in pairwise(levels))
    assert (levels[-1] == 0).all()


def test_rows_do_not_depend_on_each_other() -> None:
    rng = torch.Generator().manual_seed(0)
    told = torch.rand(3, 3, 8, 8, generator=rng)
    segments = torch.randint(0, 5, (3, 8, 8), generator=rng)
    alone = [choose_by_segment(told[i : i + 1], segments[i : i + 1], 0.5) for i in range(3)]
    assert torch.equal(choose_by_segment(told, segments, 0.5), torch.cat(alone))


def test_a_prediction_that_is_no_number_takes_the_finest() -> None:
    assert first_within(torch.full((1, 3, 2, 2), torch.nan), 1.0).eq(2).all()


def test_predictions_come_in_the_order_asked_for_and_in_the_predictors_unit() -> None:
    told = predict_errors(Told(0.5), errors(), SPACES, 2)
    torch.testing.assert_close(told, 2 * errors()[:, [1, 2, 0]])
    with pytest.raises(ValueError, match=r"one of F6, W\+, F4: train one for F10"):
        predict_errors(Told(), errors(), ("W+", "F10"), 2)


def test_fused_segments_count_as_one() -> None:
    found = segment_images(Halves(), torch.zeros(2, 3, 2, 2), ("skin", "eyes", "mouth"))
    assert found.tolist() == [[[0, 0], [1, 1]]] * 2
    assert segment_images(Halves(), torch.zeros(1, 3, 2, 2), ()).tolist() == [[[0, 0], [2, 1]]]


def test_classes_have_fixed_spaces() -> None:
    segments = torch.tensor([[[0, 1], [2, 2]]])
    names = Halves.segments
    chosen = choose_by_class(segments, names, SPACES, {"background": "finest", "eyes": "F4"})
    assert chosen.tolist() == [[[2, 0], [1, 1]]]
    with pytest.raises(ValueError, match="F10"):
        choose_by_class(segments, names, SPACES, {"eyes": "F10"})
    with pytest.raises(ValueError, match="got hat"):
        choose_by_class(segments, names, SPACES, {"hat": "F4"})


def test_a_segmentation_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at their size"):
        choose_by_segment(errors(), torch.zeros(1, 3, 2, dtype=torch.int64), 0.2)


def test_numbers_of_segments_may_be_of_any_size() -> None:
    few, rng = torch.tensor([[[0, 0], [3, 3]]]), torch.Generator().manual_seed(0)
    assert torch.equal(
        choose_by_segment(errors(), few * 2**40, 0.2), choose_by_segment(errors(), few, 0.2)
    )
    told = torch.rand(3, 3, 8, 8, generator=rng)
    each = torch.randint(0, 2**50, (3, 8, 8), generator=rng)  # a segment for each pixel
    assert torch.equal(choose_by_segment(told, each, 0.5), first_within(told, 0.5))


def test_one_number_in_two_rows_is_two_segments() -> None:
    told = torch.tensor([0.1, 0.9])[:, None, None, None].expand(2, 3, 2, 2)
    chosen = choose_by_segment(told, torch.zeros(2, 2, 2, dtype=torch.int64), 0.5)
    assert chosen.flatten(1).tolist() == [[0] * 4, [2] * 4]


class Wrong(Halves):
    """A parser that answers in another size, or with an index that has no name."""

    def __init__(self, px: int, index: int) -> None:
        super().__init__()
        self.answer = torch.full((1, px, px), index, dtype=torch.uint8)

    def segment(self, images: Tensor) -> Tensor:
        return self.answer


def test_a_parsers_answer_is_checked() -> None:
    images = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"expected segments \[2, 4, 4\], got \[2, 3, 3\]"):
        segment_images(Wrong(3, 0), images, ())
    with pytest.raises(ValueError, match="of the 3 segments background, skin, eyes, got 7 to 7"):
        segment_images(Wrong(4, 7), images, ())


def test_classes_without_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 to 99"):
        choose_by_class(torch.tensor([[[0, 99]]]), Halves.segments, SPACES, {})
