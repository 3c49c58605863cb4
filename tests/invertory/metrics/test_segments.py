import pytest
import torch

from invertory.metrics.segments import count_confusion, intersection_over_union


def test_intersection_over_union_of_a_known_case():
    labels = torch.tensor([[[0, 0], [1, 1]]])
    told = torch.tensor([[[0, 1], [1, 1]]])
    confusion = count_confusion(told, labels, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    each = intersection_over_union(confusion)
    assert each[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert each[2].isnan()  # nowhere, and not told


def test_shapes_that_differ_are_told():
    with pytest.raises(ValueError, match="expected segmentations of one shape"):
        count_confusion(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), 2)
