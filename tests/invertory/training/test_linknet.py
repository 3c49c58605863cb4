from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import ToyGenerator
from invertory.training.linknet import LinkNetConfig, LinkNetTraining

SMALL = LinkNetConfig(batch_size=32, learning_rate=0.03, num_fitted=200, num_held_out=400)


class Halves:
    """An attribute network: the top is bright, the left is bright, and a constant False."""

    attributes = ("top", "left", "never")
    num_binary = 3

    def scores(self, x: Tensor) -> Tensor:
        h = x.shape[-1] // 2
        means = [x[:, :, :h].mean((1, 2, 3)), x[..., :h].mean((1, 2, 3))]
        return torch.stack([*(torch.sigmoid(40 * m) for m in means), torch.zeros(len(x))], 1)


def training(config: LinkNetConfig = SMALL) -> LinkNetTraining:
    G = ToyGenerator(resolution=16, frequencies=3)
    G.w_avg.zero_()  # so that either label is as common
    return LinkNetTraining(G, Halves(), config)  # type: ignore[arg-type]


def run(trained: LinkNetTraining, steps: range) -> LinkNetTraining:
    for step in steps:
        trained.step(step)
    return trained


def test_it_learns_to_tell_from_the_latent_what_the_net_tells_from_the_image() -> None:
    before, after = training().evaluate(), run(training(), range(150)).evaluate()
    assert after["agreement"] > 0.9 > before["agreement"]
    assert after["agreement"] > after["majority"] + 0.2


def test_attributes_that_the_generator_never_shows_are_left_out() -> None:
    assert training().linknet.attributes == ("top", "left")


def test_the_editor_moves_what_its_attribute_says() -> None:
    trained = training()
    G, directions = trained.generator, trained.linknet.directions
    image = G.synthesis(G.w_avg.expand(1, 4, -1) + torch.stack(list(directions)))
    top, left = Halves().scores(image)[:, :2].unbind(1)
    assert top[0] > 0.9
    assert left[1] > 0.9


def test_a_training_that_goes_on_from_its_state_reaches_the_same_weights(tmp_path: Path) -> None:
    whole = run(training(), range(20))
    half = run(training(), range(10))
    torch.save(half.state_dict(), tmp_path / "state.pt")
    resumed = training()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(run(resumed, range(10, 20)).linknet.weight, whole.linknet.weight)


def test_a_generator_that_shows_none_of_the_attributes_is_refused() -> None:
    with pytest.raises(ValueError, match="use a classifier of what this generator draws"):
        training(LinkNetConfig(min_share=0.5, num_fitted=200))


def test_a_batch_has_the_kinds_of_latents_that_were_asked_for() -> None:
    config = LinkNetConfig(batch_size=32, single=0.25, crossed=0.5, num_fitted=200)
    w_plus, labels = training(config)._batch(3)
    assert config.num_by_kind(32) == {"independent": 8, "single": 8, "crossed": 16}
    assert w_plus.shape[:2] == (32, 4)
    assert labels.shape == (32, 2)
    distinct = [len(rows.unique(dim=0)) for rows in w_plus]
    assert distinct == [*[4] * 8, *[1] * 8, *[2] * 16]
    assert torch.equal(w_plus[20, 0], w_plus[20, 1]) or torch.equal(w_plus[20, 1], w_plus[20, 3])


def test_the_map_is_told_for_w_though_it_is_trained_about_its_mean() -> None:
    trained = training()
    trained.generator.w_avg.add_(3)
    run(trained, range(3))
    w_plus = trained.generator.w_avg.expand(1, 4, -1)
    torch.testing.assert_close(trained.linknet(w_plus)[0], trained._offset, rtol=1e-4, atol=1e-4)


def test_each_kind_of_latent_has_a_quality_of_its_own() -> None:
    found = run(training(), range(150)).evaluate()
    for kind in ("independent", "single", "crossed"):
        assert found[f"{kind}/roc_auc"] > 0.95
        assert found[f"{kind}/balanced_accuracy"] > found[f"{kind}/majority"]
    assert {"roc_auc_top", "balanced_accuracy_left", "agreement_top"} <= set(found)


def test_the_rate_falls_over_the_images_that_are_asked_for() -> None:
    trained = training(LinkNetConfig(batch_size=32, images=320, num_fitted=200))
    run(trained, range(10))
    assert trained.optimiser.param_groups[0]["lr"] < 0.03 * 1e-3


def test_shares_beyond_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"together at most 1, got 0\.7 and 0\.5"):
        LinkNetConfig(single=0.7, crossed=0.5)
