"""Frames between key frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from invertory.editing.key_frames import (
    SIGMA,
    average_codes,
    gaussian_weights,
    interpolate_frames,
    linear_weights,
    slow_down,
    stream_frames,
)
from invertory.editing.tiling import TiledPair
from invertory.generators.toy import ToyGenerator

GENERATOR = ToyGenerator(resolution=16, frequencies=3)
TIMES = torch.arange(9.0)
KEYS = torch.tensor([0.0, 4.0, 8.0])


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


class Counting:
    """The toy, which records how many images it draws at a time."""

    resolution, num_ws = GENERATOR.resolution, GENERATOR.num_ws

    def __init__(self, drawn: list[int]) -> None:
        self.drawn, self.w_avg = drawn, GENERATOR.w_avg

    def synthesis(self, w_plus: Tensor) -> Tensor:
        self.drawn.append(len(w_plus))
        return GENERATOR.synthesis(w_plus)


def sequence(num: int) -> tuple[Tensor, Tensor]:
    """Frames whose codes lie on a straight line, and those codes."""
    rng = torch.Generator().manual_seed(2)
    first, last = torch.randn(2, GENERATOR.num_ws, GENERATOR.w_dim, generator=rng)
    w_plus = torch.stack([first.lerp(last, t) for t in torch.linspace(0, 1, num)])
    return GENERATOR.synthesis(w_plus), w_plus


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 2.0, 1e3])
def test_the_weights_of_a_frame_sum_to_1(sigma: float) -> None:
    weights = gaussian_weights(TIMES, KEYS, sigma)
    assert weights.shape == (9, 3)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(9, dtype=torch.float64))


def test_a_key_frame_takes_its_own_code_where_the_window_is_narrow() -> None:
    weights = gaussian_weights(KEYS, KEYS, 1e-3)
    torch.testing.assert_close(weights, torch.eye(3, dtype=torch.float64))


def test_all_frames_take_the_mean_where_the_window_is_wide() -> None:
    weights = gaussian_weights(TIMES, KEYS, 1e6)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 3))


def test_the_middle_takes_its_neighbours_alike() -> None:
    weights = gaussian_weights(torch.tensor([2.0]), KEYS, 1.0)[0]
    assert float(weights[0]) == pytest.approx(float(weights[1]))
    # the third is three times as far: exp(-36 / 2) against exp(-4 / 2)
    assert float(weights[2] / weights[1]) == pytest.approx(torch.exp(torch.tensor(-16.0)).item())


def test_a_window_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="wider than 0"):
        gaussian_weights(TIMES, KEYS, 0.0)


def test_linear_weights_are_of_the_two_neighbours() -> None:
    weights = linear_weights(torch.tensor([0.0, 1.0, 4.0, 7.0, 9.0]), KEYS)
    expected = [[1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0.25, 0.75], [0, 0, 1]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))
    assert linear_weights(TIMES, KEYS[:1]).tolist() == [[1.0]] * 9


@pytest.mark.parametrize("keys", [[8.0, 4.0, 0.0], [0.0, 4.0, 4.0], [0.0, 8.0, 4.0]])
def test_key_frames_out_of_order_are_refused(keys: list[float]) -> None:
    frames, _ = sequence(3)
    pair = TiledPair.of(Exact(), GENERATOR)
    with pytest.raises(ValueError, match=r"ascending times of key frames, got \d\.0 after \d\.0"):
        linear_weights(TIMES, torch.tensor(keys))
    with pytest.raises(ValueError, match="sort the frames"):
        interpolate_frames(frames, TIMES, torch.tensor(keys), pair)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_times_that_are_no_number_are_refused(bad: float) -> None:
    frames, _ = sequence(3)
    pair = TiledPair.of(Exact(), GENERATOR)
    keys = KEYS.clone()
    keys[1] = bad
    for weights in (linear_weights, lambda *times: gaussian_weights(*times, 1.0)):
        with pytest.raises(ValueError, match=r"finite times \[N\] of key frames"):
            weights(TIMES, keys)
        with pytest.raises(ValueError, match=r"finite times \[N\] of frames"):
            weights(keys, KEYS)
    with pytest.raises(ValueError, match=r"finite times \[N\] of frames"):
        interpolate_frames(frames, keys, KEYS, pair)
    with pytest.raises(ValueError, match="wider than 0"):
        gaussian_weights(TIMES, KEYS, float("nan"))


def test_codes_are_averaged_by_the_weights() -> None:
    codes = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]])
    found = average_codes(codes, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    assert found.tolist() == [[[2.0, 4.0]], [[1.0, 2.0]]]
    with pytest.raises(ValueError, match="expected weights"):
        average_codes(codes, torch.ones(2, 3))


def test_frames_on_a_straight_line_are_found_again() -> None:
    frames, w_plus = sequence(9)
    pair = TiledPair.of(Exact(), GENERATOR)
    between = average_codes(pair.codes(frames[::4]), linear_weights(TIMES, KEYS))
    torch.testing.assert_close(between[:, 0], w_plus, rtol=0, atol=1e-5)


def test_frames_in_and_more_frames_out() -> None:
    frames, _ = sequence(3)
    pair = TiledPair.of(Exact(), GENERATOR)
    made = slow_down(frames, 4, pair, sigma=0.1)
    assert made.shape == (9, 3, 16, 16)
    # a window this narrow keeps key frames as they are; a linear toy inverts them exactly
    torch.testing.assert_close(made[::4], frames, rtol=0, atol=1e-4)


def test_frames_that_are_not_square_come_out_as_they_went_in() -> None:
    frames = torch.linspace(-0.5, 0.5, 3)[:, None, None, None].expand(3, 3, 20, 40)
    pair = TiledPair.over((20, 40), Exact(), GENERATOR)
    made = slow_down(frames, 4, pair, sigma=0.1)
    assert made.shape == (9, 3, 20, 40)
    torch.testing.assert_close(made[::4], frames, rtol=0, atol=1e-4)


def test_a_stream_gives_the_same_frames_in_batches() -> None:
    frames, _ = sequence(60)
    pair = TiledPair.of(Exact(), GENERATOR)
    keys, times = torch.arange(60.0), torch.arange(0, 59, 0.5)
    whole = interpolate_frames(frames, times, keys, pair)
    batches = list(stream_frames(frames.split(7), times, keys, pair, most=10))
    assert [len(some) for some in batches] == [10] * 11 + [8]
    torch.testing.assert_close(torch.cat(batches), whole, rtol=0, atol=1e-5)
    # distant frames have no weight: the result equals that of all frames
    codes = pair.codes(frames)
    plain = pair.images(average_codes(codes, gaussian_weights(times, keys, SIGMA)))
    torch.testing.assert_close(whole, plain, rtol=0, atol=1e-5)


def test_a_stream_draws_as_it_is_asked_and_is_refused_at_once() -> None:
    frames, _ = sequence(3)
    pair = TiledPair.of(Exact(), GENERATOR)
    with pytest.raises(ValueError, match="a time for each"):
        stream_frames([frames[:1], frames[1:]], TIMES, KEYS[:2], pair)
    drawn: list[int] = []
    counted = replace(pair, generator=Counting(drawn))
    stream = stream_frames([frames], TIMES, KEYS, counted, most=2)
    assert drawn == []
    assert next(stream).shape[0] == 2
    assert drawn == [2]


def test_tiles_are_interpolated_each_by_itself() -> None:
    rng = torch.Generator().manual_seed(4)
    frames = torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1
    frames[1, :, :16, :16] = frames[0, :, :16, :16]  # one tile does not move
    pair = TiledPair.of(Exact(), GENERATOR, tiles=2)
    made = interpolate_frames(frames, torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 1.0]), pair)
    still, moving = made[..., :16, :16], made[..., 16:, 16:]
    torch.testing.assert_close(still[1], still[0])
    assert (moving[1] - moving[0]).abs().max() > 0.1


def test_frames_without_a_time_are_refused() -> None:
    frames, _ = sequence(3)
    pair = TiledPair.of(Exact(), GENERATOR)
    with pytest.raises(ValueError, match="a time for each"):
        interpolate_frames(frames, TIMES, KEYS[:2], pair)
    with pytest.raises(ValueError, match="factor"):
        slow_down(frames, 0, pair)
