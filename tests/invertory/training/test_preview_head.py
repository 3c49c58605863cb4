"""Training of preview heads, on a small generator with random weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import heads_from, untrained_head
from invertory.training.preview_head import (
    Settings,
    draw_latents,
    draw_pairs,
    held_out_psnr_db,
    train,
    write,
)

SETTINGS = Settings(
    resolutions=(4, 8), pictures=8, held_out=4, steps=60, batch_size=4, crop_px=4, seed=1
)


@pytest.fixture(scope="module")
def small() -> MobileStyleGAN:
    """32 px, random weights."""
    generator = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in generator.state_dict().values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
    return generator


def test_training_brings_previews_nearer(small: MobileStyleGAN) -> None:
    pairs = draw_pairs(small, SETTINGS)
    heads, psnr_db = train(small, SETTINGS)
    assert [head.resolution for head in heads] == [4, 8]
    for head in heads:
        before = held_out_psnr_db(small, untrained_head(small, head.resolution), pairs, SETTINGS)
        after = held_out_psnr_db(small, head, pairs, SETTINGS)
        assert after.mean() > before.mean() + 0.5
        report = psnr_db[str(head.resolution)]["trained"]
        assert report["mean"] == pytest.approx(float(after.mean()), abs=0.01)


def test_a_seed_names_a_result(small: MobileStyleGAN) -> None:
    (_, first), (_, again) = train(small, SETTINGS)[0], train(small, SETTINGS)[0]
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_latents_are_of_four_kinds(small: MobileStyleGAN) -> None:
    w_plus = draw_latents(small, 4, torch.Generator().manual_seed(0))
    num_distinct = [len(torch.unique(rows, dim=0)) for rows in w_plus]
    assert num_distinct == [1, 1, 2, small.num_ws]


def test_the_file_has_a_card_and_loads(small: MobileStyleGAN, tmp_path: Path) -> None:
    heads, psnr_db = train(small, SETTINGS)
    out = tmp_path / "head.safetensors"
    write(out, heads, psnr_db, SETTINGS)
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert card["num_pictures"] == {"trained_on": 8, "held_out": 4}
    assert [h.config for h in heads_from(load_file(out))] == card["architecture"]["heads"]
