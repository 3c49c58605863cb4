import pytest
import torch

from invertory.metrics.attributes import Confusion, Threshold, report, roc_auc, unambiguous

AGE = Threshold("age_years", 60.0, (20.0, 80.0))  # ambiguous: from 57 to 63


def test_counts_and_both_accuracies_of_a_known_case():
    told = torch.tensor([[1], [1], [0], [0], [0]])
    labels = torch.tensor([[1], [0], [0], [0], [1]])
    counts = Confusion.of(told, labels)
    assert [int(n) for n in (counts.tp, counts.fp, counts.tn, counts.fn)] == [1, 1, 2, 1]
    assert float(counts.accuracy) == pytest.approx(3 / 5)
    assert float(counts.balanced_accuracy) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_what_lies_at_the_threshold_is_ambiguous_for_its_attribute_alone():
    values = torch.tensor([[0.0, 1.0, 56.9], [1.0, 0.0, 57.1], [1.0, 1.0, 62.9], [0.0, 0.0, 63.1]])
    clear = unambiguous(values, ("old", "hat", "age_years"), ("old", "hat"), {"old": AGE})
    assert clear[:, 0].tolist() == [True, False, False, True]
    assert clear[:, 1].all()


def test_ambiguous_images_do_not_count_in_the_unambiguous_accuracy():
    outputs = torch.tensor([[-1.0, 58.0], [1.0, 70.0], [-1.0, 30.0]])
    labels = torch.tensor([[1.0, 61.0], [1.0, 72.0], [0.0, 30.0]])
    found = report(outputs, labels, (("old",), ("age_years",)), {"old": AGE})
    assert found["accuracy/old"] == pytest.approx(2 / 3)
    assert found["accuracy_unambiguous/old"] == 1
    assert found["num_unambiguous/old"] == 2
    assert found["mae/age_years"] == pytest.approx(5 / 3)
    assert (found["tp/old"], found["fn/old"]) == (1, 1)


def test_what_never_occurs_has_no_balanced_accuracy_and_spoils_no_mean():
    outputs, labels = torch.tensor([[-1.0, 2.0], [-1.0, -2.0]]), torch.tensor([[0.0, 1], [0, 0]])
    found = report(outputs, labels, (("hat", "smile"), ()), {})
    assert "balanced_accuracy/hat" not in found
    assert found["accuracy/hat"] == 1
    assert (found["num_attributes"], found["accuracy"], found["balanced_accuracy"]) == (1, 1, 1)


def test_the_roc_area_is_the_chance_of_the_right_order() -> None:
    """By hand: three of four pairs of the first column are ordered; ties count half."""
    scores = torch.tensor([[0.9, 1.0, 0.0], [0.2, 1.0, 0.5], [0.4, 1.0, 0.1], [0.1, 1.0, 0.2]])
    labels = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]]).bool()
    found = roc_auc(scores, labels)
    assert found[:2].tolist() == [0.75, 0.5]
    assert found[2].isnan()


def test_the_roc_area_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 20, (200, 3), generator=rng).float()
    labels = torch.rand(200, 3, generator=rng) < scores / 20
    expected = [roc_auc_score(labels[:, i], scores[:, i]) for i in range(3)]
    assert roc_auc(scores, labels).tolist() == pytest.approx(expected)
