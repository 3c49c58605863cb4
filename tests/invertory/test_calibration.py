import pytest
import torch

from invertory.calibration import (
    FLATTEST,
    SHARPEST,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


def drawn(scale, num=20_000):
    """True logits with labels drawn from them, the logits then stretched by `scale`."""
    rng = torch.Generator().manual_seed(0)
    true = torch.randn(num, 1, generator=rng) * 2
    labels = (torch.rand(num, 1, generator=rng) < true.sigmoid()).float()
    return true * scale, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_is_the_factor_by_which_logits_were_stretched(scale):
    logits, labels = drawn(scale)
    assert float(fit_temperature(logits, labels)) == pytest.approx(scale, rel=0.05)


def test_calibration_lowers_nll_and_calibration_error():
    logits, labels = drawn(3.0)
    cooled = logits / fit_temperature(logits, labels)
    assert negative_log_likelihood(cooled, labels) < negative_log_likelihood(logits, labels) - 0.1
    assert calibration_error(logits.sigmoid(), labels) > 0.1
    assert calibration_error(cooled.sigmoid(), labels) < 0.02


def test_separable_and_hopeless_logits_stay_within_bounds():
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    logits = torch.tensor([[5.0, -5.0], [-5.0, 5.0]])
    assert fit_temperature(logits, labels).tolist() == [SHARPEST, FLATTEST]


def test_attributes_are_fitted_apart():
    (a, labels_a), (b, labels_b) = drawn(0.5), drawn(3.0)
    both = fit_temperature(torch.cat([a, b], 1), torch.cat([labels_a, labels_b], 1))
    assert both[0] == fit_temperature(a, labels_a)[0]
    assert both[1] == fit_temperature(b, labels_b)[0]


def test_the_calibration_error_of_known_bins():
    probabilities = torch.tensor([[0.9], [0.9], [0.1], [0.1]])
    labels = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    # |0.9 - 0.5| and |0.1 - 0|, half of the rows each
    assert float(calibration_error(probabilities, labels)) == pytest.approx(0.25)


def test_shapes_that_differ_are_told():
    with pytest.raises(ValueError, match=r"got \[2, 1\] and \[2, 2\]"):
        fit_temperature(torch.zeros(2, 1), torch.zeros(2, 2))
