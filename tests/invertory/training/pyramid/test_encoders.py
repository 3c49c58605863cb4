"""The trainers of pSp, e4e and ReStyle on a linear generator learn, and resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import invertory
from invertory.encoders import ResidualEncoder
from invertory.encoders.pyramid import PyramidEncoder
from invertory.generators.toy import ToyGenerator
from invertory.networks import build
from invertory.perceptual import PixelPyramid
from invertory.training.loop.train import NonFiniteError, train
from invertory.training.optimiser import seeded
from invertory.training.pyramid.config import PyramidEncoderConfig
from invertory.training.pyramid.e4e import E4EConfig, E4ETraining
from invertory.training.pyramid.latent_discriminator import CodePool, LatentDiscriminator
from invertory.training.pyramid.psp import PyramidEncoderTraining
from invertory.training.pyramid.restyle import ReStyleConfig, ReStyleTraining

G = ToyGenerator(resolution=8, frequencies=2)
KINDS: dict[str, tuple[type[PyramidEncoderTraining[Any]], type[PyramidEncoderConfig]]] = {
    "psp": (PyramidEncoderTraining, PyramidEncoderConfig),
    "e4e": (E4ETraining, E4EConfig),
    "restyle": (ReStyleTraining, ReStyleConfig),
}
WIDTHS = (16, 16, 32, 32, 32)
SMALL: dict[str, Any] = {
    "images": 640,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "half_life_images": 32,
    "held_out": 16,
    "widths": WIDTHS,
    "style_width": 16,
    "mirror": False,  # the toy knows no symmetry
    "w_samples": 256,
}


class Faces(nn.Module):
    """An embedding: the mean colour of each quarter."""

    def embedding(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def drawn(num: int = 208) -> np.ndarray:
    w = G.mapping(torch.randn(num, G.z_dim, generator=torch.Generator().manual_seed(7)))
    made = G.synthesis(w[:, None].expand(-1, G.num_ws, -1)).clamp(-1, 1)
    return ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


IMAGES = drawn()


def made(kind: str, pixels: np.ndarray = IMAGES, **changes: Any) -> Any:
    training, config = KINDS[kind]
    named = {
        name: changes.pop(name) for name in ("classifier", "encoder", "w_plus") if name in changes
    }
    return training(G, PixelPyramid(), pixels, config(**SMALL | changes), **named)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_learns_to_reconstruct(kind: str) -> None:
    changes = {"iterations": 2} if kind == "restyle" else {}
    training = made(kind, **changes)
    before = training.evaluate()
    losses = [training.step(step) for step in range(80)]
    after = training.evaluate()
    assert after["mse"] < 0.8 * before["mse"]
    assert after["psnr_db"] > before["psnr_db"] + 1
    assert after["perceptual_pixels"] < before["perceptual_pixels"]
    assert all(torch.isfinite(value) for loss in losses for value in loss.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_to_the_same_weights(kind: str, tmp_path: Path) -> None:
    changes = {"images": 64, "progressive_from": 0.2, "progressive_every": 0.1, "r1_every": 2}
    known = {} if kind == "psp" else changes
    often = {"checkpoint_every": 16, "log_every": 16}
    whole = train(made(kind, **known), tmp_path / "whole", images=64, log_every=16)
    train(made(kind, **known), tmp_path / "parts", images=32, **often)
    parts = train(made(kind, **known), tmp_path / "parts", images=64, **often)
    tensors = [load_file(folder / f"{kind}.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    card = json.loads((parts / f"{kind}.json").read_text())
    encoder = build(card["architecture"]["name"], card["architecture"]["config"], tensors[1])
    assert encoder(torch.zeros(1, 3, 8, 8)).shape == (1, 4, G.w_dim)
    assert (parts / "sheets" / "000000064.jpg").is_file()


JUDGED: dict[str, Any] = {
    "images": 64,
    "progressive_from": 0.2,
    "progressive_every": 0.1,
    "r1_every": 2,
    "discriminator_rate": 1e-3,
    "pool_size": 8,
}
EVERY = {"log_every": 16, "checkpoint_every": 16, "evaluate_every": 64}


def judged() -> Any:
    return made("e4e", **JUDGED)


def test_a_training_that_is_killed_reaches_the_same_networks_and_judge(tmp_path: Path) -> None:
    undisturbed = judged()
    train(undisturbed, tmp_path / "whole", images=64, **EVERY)
    program = (
        f"import os, signal, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from pathlib import Path\n"
        f"from {Path(__file__).stem} import EVERY, judged\n"
        f"from {train.__module__} import train\n"
        "def kill(seen, total, values):\n"
        "    seen >= 48 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train(judged(), Path({str(tmp_path / 'parts')!r}), images=64, progress=kill, **EVERY)"
    )
    root = Path(invertory.__file__).resolve().parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(root)}, cwd=root
    )
    assert killed.returncode == -signal.SIGKILL
    left = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)
    assert left["steps"] == 4  # 32 images: at 48 it died before it could save
    resumed = judged()
    train(resumed, tmp_path / "parts", images=64, **EVERY)
    expected, got = (dict(flat(one.state_dict())) for one in (undisturbed, resumed))
    assert any(name.startswith("/judge/network") for name in expected)
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    items = enumerate(value) if isinstance(value, list) else getattr(value, "items", dict)()
    for key, item in items:
        yield from flat(item, f"{name}/{key}")


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_not_square_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"expected square images .*align them first"):
        made(kind, np.zeros((40, 8, 4, 3), np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_held_out_is_refused_before_it_trains(kind: str) -> None:
    with pytest.raises(ValueError, match="expected held_out from 1, got 0"):
        made(kind, held_out=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_smaller_than_a_batch_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="expected at least 24 images"):
        made(kind, IMAGES[:20])


@pytest.mark.parametrize("kind", KINDS)
def test_losses_that_are_no_number_stop_and_keep_the_last_state(kind: str, tmp_path: Path) -> None:
    training = made(kind)
    often = {"checkpoint_every": 16, "log_every": 8}
    train(training, tmp_path, images=16, **often)
    with torch.no_grad():
        training._encoder.network.w_scale.fill_(torch.nan)
    training.load_state_dict = lambda state: None  # it goes on as it is
    with pytest.raises(NonFiniteError, match="keeps the last good state"):
        train(training, tmp_path, images=32, **often)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["steps"] == 2


def test_losses_have_the_published_weights_and_forms() -> None:
    training = made("psp", classifier=Faces(), w_norm_weight=0.005)
    expected = {"mse": 1.0, "perceptual": 0.8, "identity": 0.1, "w_norm": 0.005, "latent": 0.0}
    assert training.weights == expected
    rows = torch.arange(4)
    goal = training._target_batch(training._real[rows], training._real[rows], rows)
    codes = G.w_avg.expand(4, G.num_ws, -1) + 0.5
    losses, shown = training._losses(codes, goal)
    assert losses["w_norm"].item() == pytest.approx(0.5 * (G.num_ws * G.w_dim) ** 0.5)
    same, _ = training._losses(G.invert_exactly(goal.images), goal)
    assert same["identity"].item() < 0.01 < losses["identity"].item()
    torch.testing.assert_close(losses["mse"], (shown - goal.images).square().mean())


def test_without_a_classifier_there_is_no_identity() -> None:
    training = made("psp")
    assert sorted(training.step(0)) == ["mse", "perceptual"]
    assert "identity" not in training.evaluate()
    assert "identity" in made("psp", classifier=Faces()).evaluate()


def test_offsets_are_let_in_as_the_run_goes_on() -> None:
    training = made("e4e", images=800, progressive_from=0.1, progressive_every=0.025)
    assert [training.num_deltas(step) for step in (0, 9, 10, 12, 13, 15, 99)] == [
        *(0, 0, 1, 1, 2, 3, 3)
    ]
    assert "delta_norm" not in training.step(0)
    assert "delta_norm" in training.step(10)


def test_latent_losses_are_those_of_the_rows_let_in() -> None:
    training = made("e4e")
    codes = G.w_avg.expand(2, G.num_ws, -1).clone()
    codes[:, 1, 0] += 3
    codes[:, 3] += 100  # not let in yet
    losses = training._latent_losses(codes, 2)
    assert losses["delta_norm"].item() == pytest.approx(3)
    told = training.judge.network(codes[:, :3].flatten(0, 1))
    torch.testing.assert_close(losses["adversarial"], nn.functional.softplus(-told).mean())


@pytest.mark.parametrize(("preset", "num"), [("paper", 8 * 3), ("code", 8)])
def test_presets_show_the_judge_every_row_or_one(preset: str, num: int) -> None:
    training = made("e4e", preset=preset)
    seen = []
    training.judge.learn = lambda real, made, step, rng: seen.append((real, made)) or {}
    codes = torch.arange(4.0)[None, :, None].expand(8, -1, G.w_dim)
    training._step_judge(codes, 2, 0)
    ((real, rows),) = seen
    assert real.shape == rows.shape == (num, G.w_dim)
    assert set(rows[:, 0].tolist()) == {0, 1, 2}


def test_the_judge_learns_to_tell_codes_from_w() -> None:
    training = made("e4e", discriminator_rate=1e-2)
    real, far = training._draw_w(64, 1, 2), training._draw_w(64, 2, 2) + 3 * training.w_scale
    losses = [
        training.judge.learn(real, far, step, torch.Generator().manual_seed(step))
        for step in range(30)
    ]
    before, after = (losses[i]["discriminator"] for i in (0, -1))
    assert after < 0.8 * before
    assert ["r1" in loss for loss in losses[:17]] == [step % 16 == 0 for step in range(17)]


def test_the_penalty_is_the_squared_slope_in_deviations() -> None:
    judge = LatentDiscriminator(torch.zeros(2), torch.full((2,), 2.0), num_layers=1)
    with torch.no_grad():
        judge.told.weight.copy_(torch.tensor([[3.0, 4.0]]) * 2**0.5)  # its scale is 1 / sqrt 2
    assert judge.r1_penalty(torch.randn(5, 2)).item() == pytest.approx(25, rel=1e-5)
    assert judge(torch.tensor([[2.0, 0.0]])).item() == pytest.approx(3, rel=1e-5)


def test_a_full_pool_gives_old_codes_back() -> None:
    pool, rng = CodePool(4, 1, "cpu"), torch.Generator().manual_seed(0)
    first = pool.exchange(torch.arange(4.0)[:, None], rng)
    assert first[:, 0].tolist() == [0, 1, 2, 3]
    later = pool.exchange(torch.arange(10.0, 26.0)[:, None], rng)[:, 0].tolist()
    fresh = [code for i, code in enumerate(later) if code == 10 + i]
    assert 0 < len(fresh) < 16
    assert set(later) - set(fresh) <= {*range(4), *range(10, 26)}
    again = CodePool(4, 1, "cpu")
    again.load_state_dict(pool.state_dict())
    codes = torch.arange(30.0, 34.0)[:, None]
    both = [p.exchange(codes, torch.Generator().manual_seed(1)) for p in (pool, again)]
    assert torch.equal(*both)


def test_restyle_starts_from_the_average_picture() -> None:
    training = made("restyle")
    average = G.synthesis(G.w_avg.expand(1, G.num_ws, -1)).clamp(-1, 1)
    network = training.networks()["restyle"]
    expected = average.repeat_interleave(2, 2).repeat_interleave(2, 3)[0]  # 16 px
    assert network.average_picture.shape == (3, 16, 16)
    assert (network.average_picture - expected).abs().mean() < 0.2  # bilinear, not blocks
    x = training._real[torch.arange(2)]
    first = training.iterated(x)[0]
    torch.testing.assert_close(first, network(x), rtol=0, atol=1e-4)


def slopes(training: Any, goal: Any, *, is_detached: bool) -> list[Tensor]:
    """Gradients of three iterations, either detached from each other or not."""
    network = training._encoder.network
    parameters = list(network.parameters())
    codes, synth, totals = training._mean(8), training._average(8), []
    for _ in range(3):
        codes = codes + network.residual(goal.images, synth, num_deltas=None)
        losses, synth = training._losses(codes, goal)
        totals.append(training._total(losses))
        if is_detached:
            codes, synth = codes.detach(), synth.detach()
    singles = [torch.autograd.grad(total, parameters, retain_graph=True) for total in totals]
    return [torch.stack(own).sum(0) for own in zip(*singles, strict=True)]


def test_restyle_adds_up_the_gradients_of_single_iterations() -> None:
    training = made("restyle", iterations=3)
    network = training._encoder.network
    goal = training._target_batch(*training._batch(0))
    training._encoder.clear()
    losses = training._accumulate(goal, 0)
    got = [parameter.grad.clone() for parameter in network.parameters()]
    for gradient, expected in zip(got, slopes(training, goal, is_detached=True), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    through = slopes(training, goal, is_detached=False)  # as if nothing were detached
    apart = [(a - b).norm() / b.norm() for a, b in zip(got, through, strict=True)]
    assert max(apart) > 0.05
    assert sorted(losses) == ["mse", "perceptual"]
    assert [f"mse_{i}" in training.evaluate() for i in (1, 3, 4)] == [True, True, False]


def test_restyle_over_e4e_has_its_losses() -> None:
    training = made("restyle", base="e4e", progressive_from=0.0, iterations=2)
    losses = training.step(0)
    assert {"delta_norm", "adversarial", "discriminator"} <= losses.keys()
    assert training.networks()["restyle"].heads == "e4e"
    judged = {"judged_real", "judged_made"}
    assert judged <= training.evaluate().keys()
    assert not judged & made("restyle").evaluate().keys()


def test_the_maps_of_another_encoder_are_a_start() -> None:
    other = seeded(
        lambda: ResidualEncoder(resolution=64, num_ws=4, w_dim=G.w_dim, channels=WIDTHS), 3
    )
    network = made("psp", encoder=other).networks()["psp"]
    assert isinstance(network, PyramidEncoder)
    assert torch.equal(network.stem.conv.weight, other.stem.conv.weight)
    assert torch.equal(network.w_mean, G.w_avg.expand(G.num_ws, -1))


def test_configurations_are_told_apart() -> None:
    assert replace(E4EConfig(), seed=1) != E4EConfig()
    assert E4EConfig().delta_norm_weight == 2e-4
    assert (E4EConfig().adversarial_weight, E4EConfig().r1_gamma) == (0.1, 10)


def known(num: int = 208) -> Any:
    """The latents of the images of `drawn`."""
    w = G.mapping(torch.randn(num, G.z_dim, generator=torch.Generator().manual_seed(7)))
    return w[:, None].expand(-1, G.num_ws, -1).half().numpy()


FEW_CORES: dict[str, Any] = {
    "image_px": 4,
    "image_pictures": 4,
    "latent_weight": 0.5,
    "alter": 0.5,
    "grain": 0.05,
    "pyramid_width": 8,
    "num_styles": 2,
    "w_plus": known(),
}


@pytest.mark.parametrize("kind", ["psp", "e4e"])
def test_what_saves_cores_learns_and_survives_a_kill(kind: str, tmp_path: Path) -> None:
    training = made(kind, **FEW_CORES)
    before = training.evaluate()
    losses = [training.step(step) for step in range(80)]
    after = training.evaluate()
    assert after["latent_error"] < 0.9 * before["latent_error"]
    assert after["psnr_db"] > before["psnr_db"] + 0.5
    assert all("latent" in loss for loss in losses)
    often = {"checkpoint_every": 16, "log_every": 16}
    changes = FEW_CORES | {"images": 64}
    whole = train(made(kind, **changes), tmp_path / "whole", images=64, log_every=16)
    train(made(kind, **changes), tmp_path / "parts", images=32, **often)
    parts = train(made(kind, **changes), tmp_path / "parts", images=64, **often)
    tensors = [load_file(folder / f"{kind}.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_images_are_made_of_the_first_and_latents_compared_of_the_others() -> None:
    training = made("psp", **FEW_CORES)
    goal = training._target_batch(*training._batch(0))
    assert goal.images.shape == (4, 3, 4, 4)
    assert goal.seen.shape == (8, 3, 8, 8)
    exact = torch.from_numpy(known())[goal.rows].float()
    exact[:4] += 5  # which only the images see
    losses, shown = training._losses(exact, goal)
    assert len(shown) == 4
    assert losses["latent"].item() < 1e-6
    everywhere = made("psp", **FEW_CORES | {"image_pictures": 0})
    losses, _ = everywhere._losses(exact, everywhere._target_batch(*everywhere._batch(0)))
    assert losses["latent"].item() > 1


def test_latents_that_nobody_knows_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="train on pairs"):
        made("e4e", latent_weight=0.1)


def test_restyle_refuses_what_its_iterations_cannot_do() -> None:
    with pytest.raises(ValueError, match="got image_px, grain"):
        made("restyle", image_px=4, grain=0.1)
