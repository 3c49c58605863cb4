"""The settings that every optimisation method shares, and their effect."""

from __future__ import annotations

import pytest
import torch

from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion.optimisation import Budget
from invertory.perceptual import PixelPyramid


def test_the_engine_has_the_budget() -> None:
    engine = Budget(steps=7, target_loss=0.1, precision="bfloat16", execution="compiled").engine()
    assert (engine.steps, engine.target_loss) == (7, 0.1)
    assert (engine.precision, engine.execution) == ("bfloat16", "compiled")


@pytest.mark.parametrize(
    ("schedule", "first", "middle"), [("constant", 0.3, 0.3), ("ramp", 0, 0.3)]
)
def test_the_rate_follows_the_schedule(schedule: str, first: float, middle: float) -> None:
    budget = Budget(steps=100, learning_rate=0.3, schedule=schedule)  # type: ignore[arg-type]
    rate = budget.rate(torch.tensor([0, 50]))
    torch.testing.assert_close(rate, torch.tensor([first, middle], dtype=torch.float64))


def test_bf16_lays_kernels_out_with_channels_last_and_changes_no_value() -> None:
    G = StyleGAN2(img_resolution=8, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    rng = torch.Generator().manual_seed(0)
    for tensor in G.parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=rng))
    w_plus = torch.randn(2, G.num_ws, G.w_dim, generator=rng)
    before = G.synthesis(w_plus)
    kernel = G.synthesis.get_submodule("b8.conv1").get_parameter("weight")
    for precision, is_last in (("float32", False), ("bfloat16", True)):
        Budget(precision=precision).view(  # type: ignore[arg-type]
            G,  # type: ignore[arg-type]
            PixelPyramid(),
            torch.zeros(1, 3, 8, 8),
        )
        assert kernel.is_contiguous(memory_format=torch.channels_last) is is_last
    torch.testing.assert_close(G.synthesis(w_plus), before, rtol=1e-4, atol=1e-4)
