"""Pairs of latents and images, on a linear generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invertory.generators.toy import ToyGenerator
from invertory.images import to_uint8
from invertory.training.idinvert.pairs import Draws, Pairs, draw_latents, prepare_pairs

G = ToyGenerator(resolution=16, frequencies=3)


def test_an_image_is_that_of_its_latent(tmp_path: Path) -> None:
    pairs = prepare_pairs(G, tmp_path, 5, size_px=8, block=2)
    w_plus = torch.from_numpy(np.array(pairs.w_plus)).float()
    made = torch.nn.functional.avg_pool2d(G.synthesis(w_plus), 2)
    difference = pairs.images.astype(int) - to_uint8(made).astype(int)
    assert np.abs(difference).max() <= 1  # latents are kept in float16
    assert pairs.images.shape == (5, 8, 8, 3)


def test_a_stopped_drawing_goes_on_to_the_same_pairs(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, num: int) -> None:
        if done >= 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        prepare_pairs(G, tmp_path / "a", 9, size_px=16, block=2, progress=stop)
    with pytest.raises(ValueError, match="got 4 of 9"):
        Pairs.open(tmp_path / "a")
    seen: list[int] = []
    again = prepare_pairs(
        G, tmp_path / "a", 9, size_px=16, block=2, progress=lambda done, num: seen.append(done)
    )
    whole = prepare_pairs(G, tmp_path / "b", 9, size_px=16)
    assert seen == [6, 8, 9]
    assert np.array_equal(again.images, whole.images)
    assert np.array_equal(again.w_plus, whole.w_plus)


def test_pairs_of_other_settings_are_not_gone_on_with(tmp_path: Path) -> None:
    prepare_pairs(G, tmp_path, 2, size_px=16)
    with pytest.raises(ValueError, match="'seed': 1"):
        prepare_pairs(G, tmp_path, 2, size_px=16, draws=Draws(seed=1))
    other = ToyGenerator(seed=1, resolution=16, frequencies=3)
    with pytest.raises(ValueError, match="w_avg_sha256"):
        prepare_pairs(other, tmp_path, 2, size_px=16)


def test_images_finer_than_the_generators_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 16 px, got 32"):
        prepare_pairs(G, tmp_path, 2, size_px=32)


def test_a_latent_depends_on_the_seed_and_its_row_alone() -> None:
    some = draw_latents(G, [3, 7], Draws(seed=5))
    torch.testing.assert_close(draw_latents(G, range(8), Draws(seed=5))[[3, 7]], some)
    assert not torch.equal(draw_latents(G, [3, 7], Draws(seed=6)), some)


def test_without_crossing_and_moving_a_latent_is_one_truncated_w() -> None:
    w_plus = draw_latents(G, range(20), Draws(crossed=0, moved=0, psi=(0.5, 0.5)))
    assert torch.equal(w_plus, w_plus[:, :1].expand(-1, 4, -1))
    whole = draw_latents(G, range(20), Draws(crossed=0, moved=0, psi=(1, 1)))
    torch.testing.assert_close(w_plus - G.w_avg, 0.5 * (whole - G.w_avg))


def test_crossed_latents_have_two_w() -> None:
    w_plus = draw_latents(G, range(20), Draws(crossed=1, moved=0))
    num_changes = (w_plus[:, 1:] != w_plus[:, :-1]).any(2).sum(1)
    assert num_changes.tolist() == [1] * 20


def test_moved_latents_differ_in_every_row() -> None:
    w_plus = draw_latents(G, range(20), Draws(crossed=0, moved=1))
    assert (w_plus[:, 1:] != w_plus[:, :-1]).any(2).all()
