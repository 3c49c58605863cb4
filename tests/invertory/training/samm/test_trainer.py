"""The trainer of SAMM on tiny networks learns, respects its area limit, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from invertory.encoders import ResidualEncoder
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import untrained_head
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.networks import build
from invertory.networks.classifier import AttributeClassifier
from invertory.networks.samm.figures import FIGURES
from invertory.networks.samm.network import Samm
from invertory.perceptual import PixelPyramid
from invertory.portraits import World
from invertory.portraits.dataset import PortraitSet, prepare
from invertory.training.compute import Compute
from invertory.training.loop.train import train
from invertory.training.optimiser import seeded
from invertory.training.samm.config import SammConfig
from invertory.training.samm.losses import gram_distance
from invertory.training.samm.measures import measure
from invertory.training.samm.trainer import SammTraining

PX = 16
SMALL = SammConfig(
    images=256,
    batch_size=4,
    learning_rate=3e-3,
    half_life_images=16,
    held_out=4,
    shares=(0.5, 0.5),
    levels_by=0.0,
    num_levels=2,
    identity_weight=0.0,
    gram_weight=0.0,
    adversarial_weight=0.0,
    areas=(0.3, 0.3),
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PortraitSet]:
    folder = tmp_path_factory.mktemp("portraits")
    return {
        "in_domain": prepare(folder / "in_domain", 16, size_px=PX),
        "ood": prepare(folder / "ood", 16, size_px=PX, world=World(ood=1.0)),
    }


def training(sets: dict[str, PortraitSet], **settings: object) -> SammTraining:
    G = StyleGAN2(z_dim=8, w_dim=8, img_resolution=PX, num_layers=1, channel_table=(4, 4, 4))
    G.initialise(torch.Generator().manual_seed(0))
    judge = StyleGAN2Discriminator(img_resolution=PX, channel_table=(4, 4, 4))
    judge.initialise(torch.Generator().manual_seed(1))

    def encoder() -> ResidualEncoder:
        sizes = {"channels": (4, 4, 4), "narrow": 4, "hidden": 8}
        return ResidualEncoder(resolution=PX, num_ws=G.num_ws, w_dim=8, **sizes)  # type: ignore[arg-type]

    def classifier() -> AttributeClassifier:
        return AttributeClassifier(binary=("smile",), size_px=PX, stem=4, widths=(4, 4))

    return SammTraining(
        G,
        seeded(encoder, 0),
        judge,
        seeded(classifier, 0).eval(),
        PixelPyramid(),
        sets,
        replace(SMALL, **settings),  # type: ignore[arg-type]
        Compute(),
    )


def run(trained: SammTraining, num: int, start: int = 0) -> list[dict[str, Tensor]]:
    return [trained.step(step) for step in range(start, num)]


def test_the_blended_image_comes_nearer_within_the_area(sets):
    trained = training(sets, gathered_area=0.4)
    frozen = [p.clone() for p in (*trained.generator.parameters(), *trained.encoder.parameters())]
    losses = run(trained, 30)
    assert float(losses[-1]["mse"]) < float(losses[0]["mse"])
    assert 0.02 < float(losses[-1]["mask_area"]) < 0.4
    now = (*trained.generator.parameters(), *trained.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(frozen, now, strict=True))
    found = trained.evaluate()
    assert found["ood/psnr_db"] > found["ood/plain_psnr_db"] + 1
    assert {"in_domain/ood_area", "ood/iou", "ood/soft_iou", "ood/true_area"} <= set(found)
    assert "in_domain/iou" not in found
    assert trained.sheet().shape == (3, 4 * PX, 4 * PX)


def test_a_mask_beyond_its_area_is_a_loss_and_within_it_none(sets):
    wide, narrow = (training(sets, areas=a, gathered_area=a[0]) for a in ((1.0,) * 2, (0.0,) * 2))
    for trained, is_lossy in ((wide, False), (narrow, True)):
        found = trained.step(0)
        assert (float(found["area"]) > 0) is is_lossy
        assert float(found["binary"]) > 0


def test_levels_join_one_after_the_other_and_cycles_are_drawn(sets):
    trained = training(sets, levels_by=0.5, cycles=(1, 3))
    assert [trained._num_levels(done) for done in (0, 0.49, 0.5, 1)] == [1, 1, 2, 2]
    drawn = {trained._batch(step)[1] for step in range(20)}
    assert drawn == {1, 3}
    assert trained.networks()["samm"].cycles == 1


def test_the_log_tells_whether_alignment_learns(sets):
    assert set(FIGURES) <= set(training(sets).step(0))
    once = training(sets, cycles=(1,)).step(0)
    assert FIGURES[0] in once and "step_ratio" not in once
    still = training(sets, alignment="none")
    assert not set(FIGURES) & set(still.step(0))
    assert "ood/step_ratio" not in still.evaluate()


def test_known_warps_come_first_and_are_kept_up(sets):
    trained = training(sets, known_warps=0.5, images=64)
    first, *_, last = run(trained, 10)
    assert set(first) == {"fit", "known_warp"}
    assert {"mse", "fit", "known_warp", *FIGURES} <= set(last)
    assert float(last["fit"]) < 0.97 * float(first["fit"])
    assert SammConfig(known_warps=0.5, alignment="none").num_known == 0


def test_the_limit_of_all_masks_waits_for_all_levels(sets):
    for levels_by, is_lossy in ((0.0, True), (0.5, False)):
        found = training(sets, areas=(1.0, 1.0), gathered_area=0.0, levels_by=levels_by).step(0)
        assert (float(found["area"]) > 0) is is_lossy


def test_presets_have_the_weights_of_print_and_code():
    paper, code = (SammConfig(preset=p) for p in ("paper", "code"))
    assert (paper.weights.identity, code.weights.identity) == (1.0, 0.1)
    assert (paper.weights.gram, code.weights.gram) == (0.0, 50.0)
    assert paper.limits(4) == (0.3, 0.3, 0.25, 0.25)
    assert code.limits(3) == (0.3, 0.2, 0.2)
    assert replace(code, gram_weight=0.0).weights.gram == 0
    with pytest.raises(ValueError, match="for each of 4 levels"):
        SammConfig(areas=(0.1, 0.1)).limits(4)
    with pytest.raises(ValueError, match="cycles from 1"):
        SammConfig(cycles=(0,))


def test_the_other_losses_take_part_where_they_have_a_weight(sets):
    trained = training(
        sets, identity_weight=0.1, gram_weight=1.0, adversarial_weight=0.5, r1_gamma=1.0, r1_every=2
    )
    losses = run(trained, 2)
    assert {"identity", "gram", "adversarial", "discriminator", "r1"} <= set(losses[0])
    assert "r1" not in losses[1]
    assert all(torch.isfinite(value) for loss in losses for value in loss.values())
    late = training(sets, adversarial_weight=0.5, adversarial_from=0.5)
    assert "adversarial" not in late.step(0)
    assert "adversarial" in late.step(40)


def test_gram_matrices_do_not_see_where_things_are():
    x = torch.randn(1, 3, 4, 4)
    moved = x.flatten(2)[..., torch.randperm(16)].view(1, 3, 4, 4)
    assert float(gram_distance([x], [moved])) == pytest.approx(0, abs=1e-6)
    assert float(gram_distance([x], [2 * x])) > 0.01


def test_measures_are_of_masks_and_images():
    real, truth = torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    made = {"plain": real + 0.2, "aligned": real + 0.2, "blended": real + 0.02}
    found = measure(real, {**made, "mask": truth.float()}, truth)
    assert found["psnr_db"] - found["plain_psnr_db"] == pytest.approx(20, abs=1e-3)
    assert (found["iou"], found["soft_iou"], found["ood_area"]) == (1, 1, 1)


def test_images_of_another_size_than_the_generators_are_refused(sets, tmp_path):
    fine = {"in_domain": prepare(tmp_path / "fine", 10, size_px=2 * PX)}
    with pytest.raises(ValueError, match="expected images of 16 px"):
        training(fine, shares=(1.0,))


def test_images_alone_train_without_a_judge_and_without_truth():
    made = MobileStyleGAN(channels=(8, 8, 8, 8), w_dim=8, mapping_layers=1)
    rng = torch.Generator().manual_seed(0)
    for tensor in made.state_dict().values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
    made.attach_preview(untrained_head(made, PX))

    def encoder() -> ResidualEncoder:
        sizes = {"channels": (4, 4, 4), "narrow": 4, "hidden": 8}
        return ResidualEncoder(resolution=PX, num_ws=made.num_ws, w_dim=8, **sizes)  # type: ignore[arg-type]

    drawn = np.random.default_rng(0).integers(0, 256, (16, PX, PX, 3), dtype=np.uint8)
    sets = {"pairs": drawn, "images": drawn[:12]}
    trained = SammTraining(
        made, seeded(encoder, 0), None, None, PixelPyramid(), sets, SMALL, Compute()
    )
    assert all(torch.isfinite(loss) for loss in run(trained, 2)[-1].values())
    found = trained.evaluate()
    measured = ("plain_psnr_db", "aligned_psnr_db", "psnr_db", "ood_area", *FIGURES)
    assert set(found) == {f"{name}/{key}" for name in sets for key in measured}
    assert trained.sheet().shape == (3, 4 * PX, 4 * PX)
    assert set(trained.state_dict()) == {"supervised"}


@pytest.mark.parametrize(
    ("term", "kind"), [("adversarial", "discriminator"), ("identity", "class")]
)
def test_a_term_without_its_network_is_refused(sets, term, kind):
    whole = training(sets)
    config = replace(SMALL, **{f"{term}_weight": 0.1})
    with pytest.raises(ValueError, match=f"expected a {kind}.* set {term}_weight to 0"):
        SammTraining(
            whole.generator, whole.encoder, None, None, whole.perceptual, sets, config, Compute()
        )


def test_a_killed_training_goes_on_to_the_same_weights(sets, tmp_path: Path):
    def one() -> SammTraining:
        return training(sets, cycles=(1, 2), adversarial_weight=0.1, images=24, known_warps=0.5)

    cadence = {"checkpoint_every": 8, "evaluate_every": 100, "log_every": 8}
    whole = train(one(), tmp_path / "whole", images=24, **cadence)
    train(one(), tmp_path / "parts", images=8, **cadence)
    parts = train(one(), tmp_path / "parts", images=24, **cadence)
    tensors = [load_file(folder / "samm.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    card = json.loads((parts / "samm.json").read_text())
    told = card["architecture"]
    samm = build(told["name"], told["config"], tensors[1])
    assert isinstance(samm, Samm) and samm.sizes_px == (8, 16)
    assert (parts / "sheets" / "000000024.jpg").is_file()
