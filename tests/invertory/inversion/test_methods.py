"""The contract of every method in METHODS, on the toy generator."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.encoders.pyramid import PyramidEncoder
from invertory.generators.f_space import default_spaces
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS, Inversion, Method
from invertory.networks.classifier import AttributeClassifier
from invertory.networks.face_parser import FaceParser
from invertory.networks.invertibility import InvertibilityPredictor
from invertory.networks.linknet import LinkNet
from invertory.networks.sam_encoder import SamEncoder
from invertory.networks.samm.network import Samm
from invertory.perceptual import PixelPyramid

TOLERANCE = 1e-4  # latents, absolute, between batch sizes
GENERATOR = ToyGenerator(resolution=16, frequencies=3)
# SAMM reaches into convolutions, which the toy has none of; latents are as many and as long.
CONVOLVED = StyleGAN2(
    z_dim=GENERATOR.z_dim,
    w_dim=GENERATOR.w_dim,
    img_resolution=8,
    num_layers=1,
    channel_table=(6, 6),
).initialise(torch.Generator().manual_seed(0))


def random_encoder(num_ws: int = GENERATOR.num_ws) -> nn.Module:
    """An untrained encoder into the generator's latents."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        encoder = ResidualEncoder(
            resolution=16,
            num_ws=num_ws,
            w_dim=GENERATOR.w_dim,
            channels=(4, 8, 8),
            narrow=4,
            hidden=16,
        )
    return encoder.eval().requires_grad_(False)


def random_pyramid(**config: Any) -> nn.Module:
    """An untrained encoder of pSp's family."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        encoder = PyramidEncoder(
            resolution=16,
            num_ws=GENERATOR.num_ws,
            w_dim=GENERATOR.w_dim,
            backbone="small",
            widths=(4, 4, 4, 8, 8),
            style_width=4,
            **config,
        )
    return encoder.eval().requires_grad_(False)


def random_classifier() -> nn.Module:
    """An untrained attribute net."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        classifier = AttributeClassifier(binary=("smile", "old"), size_px=16, widths=(4, 4))
    return classifier.eval().requires_grad_(False)


def random_linknet() -> nn.Module:
    """An untrained LinkNet with its editor."""
    G, rng = GENERATOR, torch.Generator().manual_seed(0)
    linknet = LinkNet(num_ws=G.num_ws, w_dim=G.w_dim, attributes=("smile", "old"))
    for tensor in linknet.state_dict().values():
        tensor.copy_(0.1 * torch.randn(tensor.shape, generator=rng))
    return linknet.eval().requires_grad_(False)


def random_parser() -> nn.Module:
    """An untrained face parser."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        parser = FaceParser(segments=("skin", "hair", "ood"), size_px=16, widths=(4, 8))
    return parser.eval().requires_grad_(False)


def random_predictor() -> nn.Module:
    """An untrained invertibility predictor."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        predictor = InvertibilityPredictor(
            spaces=default_spaces(GENERATOR), size_px=16, widths=(4, 8), head_width=4
        )
    return predictor.eval().requires_grad_(False)


def random_sam_encoder() -> nn.Module:
    """Untrained encoders of SAM: the toy has no features, so there is W+ alone."""
    encoder = SamEncoder.on(GENERATOR, random_encoder(), default_spaces(GENERATOR))
    return encoder.eval().requires_grad_(False)


def random_samm() -> nn.Module:
    """Untrained modules of SAMM."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        samm = Samm.between(cast("ResidualEncoder", random_encoder()), CONVOLVED)
    return samm.eval().requires_grad_(False)


MAKERS = {
    "classifier": random_classifier,
    "e4e": random_pyramid,
    "encoder": random_encoder,
    "invertibility": random_predictor,
    "invgan": partial(random_encoder, num_ws=1),
    "linknet": random_linknet,
    "parser": random_parser,
    "psp": lambda: random_pyramid(heads="psp"),
    "restyle": lambda: random_pyramid(heads="psp", taps="coarsest", input_channels=6),
    "sam_encoder": random_sam_encoder,
    "samm": random_samm,
}
NETWORKS = {kind: make() for kind, make in MAKERS.items()}
OPTIMISING = [name for name, method in METHODS.items() if method.kind == "optimisation"]


def small(name: str) -> Method:
    """The method with a budget for tests."""
    method = METHODS[name]()
    budgets = {"steps": 12, "w_samples": 50, "pivot_steps": 4, "tiles": 2}
    own = {field.name for field in fields(method)}  # type: ignore[arg-type]
    return replace(method, **{k: v for k, v in budgets.items() if k in own})  # type: ignore[type-var]


def targets(n: int, px: int = 16) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.rand(n, 3, px, px, generator=rng) * 2 - 1


def invert(method: Method, pictures: Tensor, seeds: list[int], batch_size: int = 4) -> Inversion:
    return method.invert(
        CONVOLVED if "samm" in method.needs else GENERATOR,
        pictures,
        seeds=seeds,
        perceptual=PixelPyramid(),
        batch_size=batch_size,
        networks={kind: NETWORKS[kind] for kind in method.needs},
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_frozen_dataclass_whose_fields_say_what_they_are(name: str) -> None:
    method = METHODS[name]()
    assert is_dataclass(method)
    assert all(field.metadata["description"] for field in fields(method))
    with pytest.raises(FrozenInstanceError):
        setattr(method, fields(method)[0].name, None)
    assert method.space in {"w", "w_plus"}
    assert method.kind in {"optimisation", "feed_forward"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_an_address_for_each_network_it_needs(name: str) -> None:
    method = METHODS[name]()
    assert all(isinstance(getattr(method, kind), str) for kind in method.needs)


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_network_is_named(name: str) -> None:
    method = small(name)
    if not method.needs:
        pytest.skip(f"{name} needs no network")
    with pytest.raises(ValueError, match=method.needs[0]):
        method.invert(
            GENERATOR, targets(1), seeds=[1], perceptual=PixelPyramid(), batch_size=1, networks={}
        )


@pytest.mark.parametrize("name", METHODS)
def test_an_inversion_has_the_promised_shapes(name: str) -> None:
    method = small(name)
    found = invert(method, targets(3), [1, 2, 3])
    rows = 1 if method.space == "w" else GENERATOR.num_ws
    assert found.space == method.space
    assert found.latents.shape == (3, rows, GENERATOR.w_dim)
    assert found.latents.dtype == torch.float32
    assert not found.latents.requires_grad
    assert tuple(found.terms) == method.terms
    for values in (found.steps, found.best_step, found.loss, found.is_finite):
        assert values.shape == (3,)
    assert all(values.shape == (3,) for values in found.terms.values())


@pytest.mark.parametrize("name", OPTIMISING)
def test_an_inversion_is_finite_and_better_than_its_start(name: str) -> None:
    method = small(name)
    found = invert(method, targets(3), [1, 2, 3])
    begun = invert(replace(method, steps=0), targets(3), [1, 2, 3])  # type: ignore[type-var]
    assert found.is_finite.all()
    assert torch.isfinite(found.latents).all()
    assert (found.loss < begun.loss).all()
    assert (found.best_step <= found.steps).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seeds_give_the_same_latents(name: str) -> None:
    method = small(name)
    first, again = (invert(method, targets(3), [1, 2, 3]) for _ in range(2))
    assert torch.equal(first.latents, again.latents)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_depends_on_its_picture_and_its_seed_alone(name: str) -> None:
    method, pictures = small(name), targets(3)
    together = invert(method, pictures, [1, 2, 3])
    turned = invert(method, pictures.flip(0), [3, 2, 1], batch_size=2)
    alone = invert(method, pictures[1:2], [2])
    for other in (turned.latents.flip(0)[1], alone.latents[0]):
        torch.testing.assert_close(together.latents[1], other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", METHODS)
def test_targets_finer_than_the_generator_are_reduced(name: str) -> None:
    method = small(name)
    px = 16 * getattr(method, "tiles", 1)  # a method of tiles draws larger ones
    # few bits, so that the mean of four equals is exact; MaGeC takes its labels at the finer size
    coarse = targets(2, px).mul(64).round() / 64
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(
        invert(method, fine, [1, 2]).latents,
        invert(method, coarse, [1, 2]).latents,
        rtol=0,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_broken_picture_is_marked_and_the_others_go_on(name: str) -> None:
    pictures = targets(3)
    pictures[0] = torch.nan
    found = invert(small(name), pictures, [1, 2, 3])
    assert found.is_finite.tolist() == [False, True, True]
    assert torch.isfinite(found.latents).all()


@pytest.mark.parametrize("name", METHODS)
def test_pictures_that_are_not_square_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="align them first"):
        invert(small(name), targets(2)[..., :8], [1, 2])
