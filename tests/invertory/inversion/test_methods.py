"""The contract of every method in METHODS, on the toy generator."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from functools import partial
from typing import Any, cast, get_args

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.encoders.pyramid import PyramidEncoder
from invertory.generators import Generator
from invertory.generators.f_space import default_spaces
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS, Inversion, Method
from invertory.inversion.effect import applies
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.slots import Outcome
from invertory.networks.classifier import AttributeClassifier
from invertory.networks.face_parser import FaceParser
from invertory.networks.invertibility import InvertibilityPredictor
from invertory.networks.linknet import LinkNet
from invertory.networks.sam_encoder import SamEncoder
from invertory.networks.samm.network import Samm
from invertory.perceptual import PixelPyramid
from invertory.pipelines.recipe.catalogue import field_types

TOLERANCE = 1e-4  # latents, absolute, between batch sizes
GENERATOR = ToyGenerator(resolution=16, frequencies=3)
# SAMM hooks into convolutions, which the toy lacks; this generator's latents have the same shape.
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
    """An untrained attribute network."""
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
    encoder = SamEncoder.from_base(GENERATOR, random_encoder(), default_spaces(GENERATOR))
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
# settings of noise maps and kernels need a generator that has them
CONVOLVED_FOR = dict.fromkeys(("image2stylegan_plus", "projector", "pti"), CONVOLVED)
OPTIMISING = [name for name, method in METHODS.items() if method.kind == "optimisation"]


def small(name: str) -> Method:
    """The method with a small budget."""
    method = METHODS[name]()
    budgets = {"steps": 12, "w_samples": 50, "pivot_steps": 4, "tiles": 2}
    own = {field.name for field in fields(method)}  # type: ignore[arg-type]
    return replace(method, **{k: v for k, v in budgets.items() if k in own})  # type: ignore[type-var]


def targets(n: int, px: int = 16) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.rand(n, 3, px, px, generator=rng) * 2 - 1


def invert(
    method: Method,
    images: Tensor,
    seeds: list[int],
    batch_size: int = 4,
    generator: Generator | None = None,
) -> Inversion:
    return method.invert(
        generator or (CONVOLVED if "samm" in method.needs else GENERATOR),
        images,
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
def test_a_row_depends_on_its_image_and_its_seed_alone(name: str) -> None:
    method, images = small(name), targets(3)
    together = invert(method, images, [1, 2, 3])
    turned = invert(method, images.flip(0), [3, 2, 1], batch_size=2)
    alone = invert(method, images[1:2], [2])
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
def test_a_broken_image_is_marked_and_the_others_go_on(name: str) -> None:
    images = targets(3)
    images[0] = torch.nan
    found = invert(small(name), images, [1, 2, 3])
    assert found.is_finite.tolist() == [False, True, True]
    assert torch.isfinite(found.latents).all()


@pytest.mark.parametrize("name", METHODS)
def test_images_that_are_not_square_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="align them first"):
        invert(small(name), targets(2)[..., :8], [1, 2])


# settings for which twice the value, the next number or another word is not legal
OTHERWISE: dict[str, Any] = {
    "alignment": "skipped",
    "class_spaces": {"skin": "finest"},
    "decay": 0.5,
    "decay_every": 1,
    "fused": ("skin",),
    "loss_px": 4,
    "rampup": 0.9,
    "rampdown": 0.9,
    "rank": 1,
    "spaces": ("W+",),
    "target_loss": 1e9,
    "tiles": 3,
}
BESIDE: dict[str, dict[str, Any]] = {  # other settings that give a setting an effect
    "decay": {"decay_every": 1},
    "keep": {"over": "encoder"},
    "stored_rank": {"rank": 0},
    "rampup": {"schedule": "ramp"},
    "rampdown": {"schedule": "ramp"},
}
# settings whose effect the toy at one image size cannot show => the test that shows it
ELSEWHERE = {
    "align_edits": "test_samm_method",
    "execution": "test_execution",
    "identity_weight": "test_magec",
    "noise_learning_rate": "test_image2stylegan_plus",
    "precision": "below",
    "preview": "test_image2stylegan",
    "target_lpips": "test_pti",
    "choice": "test_sam",
    "fused": "test_sam",
    "class_spaces": "test_sam",
    "delta_weight": "test_sam",
}
NOT_ALONE = {
    ("sam_encoder", "preset"),  # an effect on edits: see test_sam_encoder
    *(("magec", name) for name in ("schedule", "rampup", "rampdown")),  # magec refuses a ramp
}
SETTINGS = [
    (name, setting.name)
    for name, method in METHODS.items()
    for setting in fields(method)  # type: ignore[arg-type]
    if setting.name not in {*ELSEWHERE, *NETWORKS, "identity"}
    and (name, setting.name) not in NOT_ALONE
]


def another(setting: str, value: Any, hint: Any) -> Any:
    """A legal value other than `value`."""
    if setting in OTHERWISE:
        return OTHERWISE[setting]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else 2 * value or 0.5
    return next(word for word in get_args(hint) if word != value)


def differ(a: Inversion, b: Inversion) -> bool:
    """Whether any value, shape or name of a result differs."""
    one, other = (
        {"latents": x.latents, "loss": x.loss, "steps": x.steps, **x.terms, **x.state, **x.maps}
        for x in (a, b)
    )
    return one.keys() != other.keys() or any(
        one[name].shape != other[name].shape or not torch.equal(one[name], other[name])
        for name in one
    )


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_of_a_method_changes_what_is_computed(name: str, setting: str) -> None:
    hint = field_types(METHODS[name])[setting]
    method: Any = small(name)
    given = {f.name: f for f in fields(method)}
    beside = {**BESIDE.get(setting, {}), **({"steps": 4} if "steps" in given else {})}
    if not applies(given[setting], method):
        beside |= {"rank": 0} if name == "pti" else {}
    before = replace(method, **{k: v for k, v in beside.items() if k in given and k != setting})
    after = replace(before, **{setting: another(setting, getattr(before, setting), hint)})
    assert applies(given[setting], after)
    G = CONVOLVED_FOR.get(name)
    assert differ(*(invert(m, targets(2), [1, 2], generator=G) for m in (before, after)))


@pytest.mark.parametrize("name", METHODS)
def test_the_engine_computes_in_the_methods_precision(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Engine] = []

    def run(engine: Engine, *args: Any, **given: Any) -> Outcome:
        engines.append(engine)
        return plain(engine, *args, **given)

    plain = Engine.run
    monkeypatch.setattr(Engine, "run", run)
    invert(replace(small(name), precision="bfloat16"), targets(2), [1, 2])  # type: ignore[type-var]
    assert engines[0].precision == "bfloat16"
    with pytest.raises(ValueError, match="expected precision float32 or bfloat16, got 'float16'"):
        invert(replace(small(name), precision="float16"), targets(2), [1, 2])  # type: ignore[type-var]
