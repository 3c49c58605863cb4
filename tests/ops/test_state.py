"""The state of an inversion is stored with the latent and used to render every edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from invertory.boundaries import Boundary, unit
from invertory.generators import Generator
from invertory.generators.state import State, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.images import Pixels, decode, encode, to_uint8
from invertory.inversion import Inversion
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.image2stylegan_plus import Image2StyleGANPlus
from invertory.ops.edit import Edit, EditSpec
from invertory.ops.invert import Invert
from invertory.ops.render import Renderer
from invertory.perceptual import PixelPyramid
from invertory.scoring import BadScore, Scores


class Brightness:
    names = ("bright",)

    def score(self, pictures: list[Pixels]) -> list[Scores | BadScore]:
        return [{"bright": float(picture.mean())} for picture in pictures]


def random_generator() -> StyleGAN2:
    G = StyleGAN2(img_resolution=16, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    rng = torch.Generator().manual_seed(0)
    for name, tensor in [*G.named_parameters(), *G.named_buffers()]:
        if tensor.ndim > 1 and "resample" not in name:
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
        elif name.endswith(("affine.bias", "noise_strength")):
            tensor.fill_(0.5)
    return G


G = random_generator()
CPU = torch.device("cpu")


def crops(num: int) -> pa.RecordBatch:
    w = torch.randn(num, 1, 8, generator=torch.Generator().manual_seed(1)).expand(-1, G.num_ws, -1)
    noise = torch.randn(num, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    pictures = [to_uint8(p) for p in (G.synthesis(w) + 0.2 * noise).clamp(-1, 1)]
    cells = [{"bytes": encode(p, "png"), "path": None} for p in pictures]
    ids = [f"{i}:0" for i in range(num)]
    return pa.RecordBatch.from_pydict({"crop_id": ids, "image_id": ids, "crop": cells})


def verb(method: Image2StyleGAN | Image2StyleGANPlus) -> Invert:
    return Invert(
        method=method,
        generator=G,  # type: ignore[arg-type]
        perceptual=PixelPyramid(),
        device=CPU,
        batch_size=2,
        image_quality=100,
    )


PLUS = verb(Image2StyleGANPlus(steps=4, learning_rate=0.05, noise_steps=25))


def test_the_state_is_stored_with_the_latent_and_used_by_the_metrics() -> None:
    with_noise = PLUS(crops(3)).rows
    without = verb(Image2StyleGAN(steps=4, learning_rate=0.05))(crops(3)).rows
    assert with_noise.schema.names == [*without.schema.names, "state"]
    assert all(set(unpack([cell.as_py()])) for cell in with_noise.column("state"))
    gained = np.subtract(with_noise.column("psnr_db"), without.column("psnr_db"))
    assert (gained > 0.5).all(), gained


def test_a_method_whose_generator_has_no_state_stores_none() -> None:
    rows = verb(replace(PLUS.method, preview=True))(crops(2)).rows  # type: ignore[type-var]
    assert rows.column("state").to_pylist() == [None, None]


def test_an_edit_of_zero_length_is_the_synth_with_its_noise() -> None:
    rows = PLUS(crops(3)).rows
    normal = unit(torch.randn(1, 8, generator=torch.Generator().manual_seed(3)))
    renderer = Renderer(
        generator=G,  # type: ignore[arg-type]
        scorer=Brightness(),
        device=CPU,
        size_px=16,
        batch_size=2,
    )
    edit = Edit(
        renderer=renderer,
        boundaries={"bright": Boundary(normal=normal)},
        specs=[EditSpec(attribute="bright", steps=(0.0, 3.0))],
    )
    edited = edit(rows.select(["crop_id", "image_id", "latent", "state"])).rows
    bare = edit(rows.select(["crop_id", "image_id", "latent"])).rows
    for i in range(3):
        synth = decode(rows.column("synth")[i]["bytes"].as_py()).pixels.astype(int)
        drawn, plain = (
            decode(table.column("picture")[2 * i]["bytes"].as_py()).pixels.astype(int)
            for table in (edited, bare)
        )
        assert np.abs(drawn - synth).mean() < 2, "JPEG alone stands between them"
        assert np.abs(plain - synth).mean() > np.abs(drawn - synth).mean() + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed(Image2StyleGAN):
    """Renders its state over the synth, and the length of an edit into a corner."""

    has_state: ClassVar[bool] = True
    maps: ClassVar[tuple[str, ...]] = ("mask",)

    def invert(self, generator: Generator, targets: Tensor, **rest: Any) -> Inversion:
        found = Image2StyleGAN.invert(self, generator, targets, **rest)
        mask = torch.zeros(len(targets), 1, 8, 8)
        mask[:, :, :4] = 1
        return replace(found, state={"frame": torch.ones(len(targets), 1)}, maps={"mask": mask})

    def draw(
        self, generator: Generator, w_plus: Tensor, state: State, *, origin: Tensor, **rest: Any
    ) -> Tensor:
        picture = generator.synthesis(w_plus)
        picture[:, :, :4] = state["frame"][:, :, None, None].float()
        picture[:, :, -1, -1] = (w_plus - origin).flatten(1).norm(dim=1)[:, None] / 10 - 1
        return picture


def test_a_method_that_renders_is_used_for_every_image_and_returns_its_maps() -> None:
    framed = verb(Framed(steps=1))
    rows = framed(crops(3)).rows
    assert rows.schema.names[-2:] == ["loss_perceptual", "state"]
    synth, mask = (decode(rows.column(c)[2]["bytes"].as_py()).pixels for c in ("synth", "map_mask"))
    assert (synth[:3] > 200).all()
    assert mask.shape == (8, 8, 3)
    assert (mask[:4] == 255).all() and (mask[4:] == 0).all()
    renderer = Renderer(
        generator=G,  # type: ignore[arg-type]
        scorer=Brightness(),
        device=CPU,
        size_px=16,
        batch_size=2,
        method=framed.method,
    )
    normal = unit(torch.ones(1, 8))
    edit = Edit(
        renderer=renderer,
        boundaries={"bright": Boundary(normal=normal)},
        specs=[EditSpec(attribute="bright", steps=(0.0, 4.0))],
    )
    edited = edit(rows.select(["crop_id", "image_id", "latent", "state"])).rows
    pictures = [decode(cell["bytes"].as_py()).pixels for cell in edited.column("picture")]
    corners = [int(p[-1, -1, 0]) for p in pictures]
    length = 4 * G.num_ws**0.5 / 10
    assert corners == [0, round(127.5 * length)] * 3
