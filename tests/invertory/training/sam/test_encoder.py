"""The trainer of SAM's encoders learns every space, and resumes after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion.w_space import mapped_draws
from invertory.networks.sam_encoder import SamEncoder
from invertory.perceptual import PixelPyramid
from invertory.portraits import World
from invertory.portraits.dataset import PortraitSet, prepare
from invertory.training.compute import Compute
from invertory.training.loop.train import train
from invertory.training.optimiser import seeded
from invertory.training.sam.encoder import SamEncoderConfig, SamEncoderTraining
from invertory.training.sam.space_maps import space_maps

Sets = dict[str, PortraitSet]
G = StyleGAN2(img_resolution=32, z_dim=8, w_dim=8, num_layers=1, channel_base=256)
G.initialise(torch.Generator().manual_seed(1))
SMALL = SamEncoderConfig(
    images=400,
    batch_size=8,
    learning_rate=1e-2,
    base_rate=1e-3,
    half_life_images=32,
    hidden=8,
    depth=1,
    held_out=8,
    measured=8,
    w_samples=200,
    shares=(0.5, 0.5),
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    folder = tmp_path_factory.mktemp("portraits")
    return {
        "in_domain": prepare(folder / "in_domain", 40, size_px=32),
        "ood": prepare(folder / "ood", 32, size_px=32, world=World(ood=1.0)),
    }


def base(num_ws: int = G.num_ws) -> ResidualEncoder:
    sizes = {"resolution": 32, "num_ws": num_ws, "w_dim": 8, "channels": (4, 8, 8, 8)}
    encoder = seeded(lambda: ResidualEncoder(**sizes, narrow=4, hidden=8), 0)  # type: ignore[arg-type]
    encoder.set_statistics(mapped_draws(G, 200)[:, None].expand(-1, num_ws, -1))
    return encoder.eval().requires_grad_(False)


def training(sets: Sets, num_ws: int = G.num_ws, **settings: Any) -> SamEncoderTraining:
    config = replace(SMALL, **settings)
    return SamEncoderTraining(G, base(num_ws), PixelPyramid(), sets, config, Compute())


def test_every_space_learns_and_a_later_one_more(sets: Sets) -> None:
    trained = training(sets)
    before = trained.evaluate()
    losses = [trained.step(step) for step in range(50)]
    after = trained.evaluate()
    first, last = (sum(float(loss["mse"]) for loss in part) for part in (losses[:8], losses[-8:]))
    assert last < 0.8 * first
    kinds = ("W+", "F2", "F4", "by_segments")
    assert len({before[f"psnr_db/{kind}"] for kind in kinds}) == 1  # it starts as its base
    gains = {kind: after[f"psnr_db/{kind}"] - before[f"psnr_db/{kind}"] for kind in kinds}
    assert min(gains.values()) > 0
    assert gains["F4"] > gains["W+"]
    assert {"ood/psnr_db/F4", "perceptual_pixels/W+", "in_domain/psnr_db/W+"} <= after.keys()


def test_a_training_that_was_stopped_ends_with_the_same_network(sets: Sets, tmp_path: Path) -> None:
    cadence = {"checkpoint_every": 16, "evaluate_every": 32, "log_every": 16}
    train(training(sets), tmp_path / "whole", images=48, **cadence)
    train(training(sets), tmp_path / "parts", images=32, **cadence)
    train(training(sets), tmp_path / "parts", images=48, **cadence)
    whole, parts = (
        (tmp_path / name / "sam_encoder.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert whole == parts
    card = json.loads((tmp_path / "whole" / "sam_encoder.json").read_text())
    assert card["architecture"]["name"] == "sam_encoder"
    assert list(card["architecture"]["config"]["shapes"]) == ["F2", "F4"]
    assert (tmp_path / "whole" / "sheets" / "000000048.jpg").is_file()


def test_the_generator_stays_and_without_a_rate_so_does_the_base(sets: Sets) -> None:
    trained = training(sets, base_rate=0.0)
    trained.step(0)
    kept = base().state_dict()
    own = trained.encoder.base.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(own[name], kept[name]) for name in kept)
    assert not any(parameter.requires_grad for parameter in G.parameters())


def test_changes_are_regularised_in_deviations_of_their_features(sets: Sets) -> None:
    weak, strong = (training(sets, feature_weight=weight) for weight in (0.0, 1.0))
    changes = [[float(t.step(step)["feature"]) for step in range(20)][-1] for t in (weak, strong)]
    assert changes[1] < 0.5 * changes[0]


def test_an_encoder_of_one_w_is_widened(sets: Sets) -> None:
    encoder = training(sets, num_ws=1).encoder
    assert isinstance(encoder, SamEncoder)
    assert encoder.num_ws == G.num_ws


def test_spaces_can_be_chosen_and_must_be_there(sets: Sets) -> None:
    assert training(sets, spaces=("F4",)).encoder.spaces == ("W+", "F4")
    with pytest.raises(ValueError, match="got F6"):
        training(sets, spaces=("W+", "F6"))


def test_the_sheet_has_a_line_for_each_space(sets: Sets) -> None:
    sheet = training(sets).sheet()
    assert sheet.shape == (3, 5 * 32, 8 * 32)  # images, W+, F2, F4, by segments
    assert sheet.abs().max() <= 1


def test_shares_of_maps_must_be_three() -> None:
    with pytest.raises(ValueError, match="by segments and by cells"):
        SamEncoderConfig(map_shares=(1.0, 0.0))  # type: ignore[arg-type]


def segmentations() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(8, (200, 8, 8), generator=rng, dtype=torch.uint8)


def maps(*shares: float) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return space_maps(segmentations(), 4, shares, rng)  # type: ignore[arg-type]


def test_maps_of_one_space_have_each_equally_often() -> None:
    found = maps(1, 0, 0)
    assert (found == found[:, :1, :1]).all()
    assert torch.bincount(found[:, 0, 0].long(), minlength=4).min() > 30


def test_maps_by_segments_split_no_segment() -> None:
    found, segments = maps(0, 1, 0), segmentations()
    for row in range(20):
        for segment in range(8):
            assert found[row][segments[row] == segment].unique().numel() <= 1
    assert found[0].unique().numel() > 1


def test_maps_by_cells_are_of_compact_parts() -> None:
    found = maps(0, 0, 1)
    is_same = found[:, :, 1:] == found[:, :, :-1]
    assert is_same.float().mean() > 0.7  # of neighbours; a quarter by chance
    assert found.max() == 3


def test_maps_depend_on_the_draws_alone() -> None:
    assert torch.equal(maps(0.4, 0.4, 0.2), maps(0.4, 0.4, 0.2))
