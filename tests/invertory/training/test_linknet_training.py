from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import ToyGenerator
from invertory.training.linknet import LinkNetConfig, LinkNetTraining

SMALL = LinkNetConfig(batch_size=32, learning_rate=0.03, num_fitted=200, num_held_out=400)


class Halves:
    """An attribute net of the toy's pictures: is the top bright, is the left bright, never."""

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


def test_it_learns_to_tell_from_the_latent_what_the_net_tells_from_the_picture() -> None:
    before, after = training().evaluate(), run(training(), range(150)).evaluate()
    assert after["agreement"] > 0.9 > before["agreement"]
    assert after["agreement"] > after["majority"] + 0.2


def test_attributes_that_the_generator_never_shows_are_left_out() -> None:
    assert training().linknet.attributes == ("top", "left")


def test_the_editor_moves_what_its_attribute_says() -> None:
    trained = training()
    G, directions = trained.generator, trained.linknet.directions
    picture = G.synthesis(G.w_avg.expand(1, 4, -1) + torch.stack(list(directions)))
    top, left = Halves().scores(picture)[:, :2].unbind(1)
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
