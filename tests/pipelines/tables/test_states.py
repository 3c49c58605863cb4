"""What a picture needs beside its latent goes through the chain: latents, edits, augmentation."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invertory.generators.state import synthesise, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.images import to_uint8
from invertory.ops.schemas import perceptual_column
from invertory.resources.checkpoints import write_network

PX = 16
SIZES = {"z_dim": 8, "w_dim": 8, "img_resolution": PX, "num_layers": 1, "channel_base": 64}
METHODS: dict[str, dict[str, Any]] = {
    "image2stylegan_plus": {"steps": 3, "noise_steps": 15},
    "pti": {
        "pivot_steps": 3,
        "w_samples": 50,
        "steps": 10,
        "rank": 2,
        "storage": "int8",
        "factor_learning_rate": 0.1,
    },
}


def random_generator() -> StyleGAN2:
    """Its mapping spreads, its pictures lie about in [-1, 1]."""
    G, rng = StyleGAN2(**SIZES), torch.Generator().manual_seed(0)
    for name, tensor in [*G.named_parameters(), *G.named_buffers()]:
        if tensor.ndim > 1 and "resample" not in name:
            scale = 100.0 if name.startswith("mapping.") else 0.5  # its rate is 0.01
            tensor.copy_(scale * torch.randn(tensor.shape, generator=rng))
        elif name.endswith(("affine.bias", "noise_strength")):
            tensor.fill_(0.5)
    return G


def pixels(cell: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")).astype(int)


def drawn(G: StyleGAN2, row: dict[str, Any], state: bytes | None) -> np.ndarray:
    """What a row's latent gives with a state, uint8."""
    w_plus = torch.tensor(row["latent"])[None].expand(1, G.num_ws, -1)
    beside = {} if state is None else unpack([state])
    picture = synthesise(G, w_plus, beside)  # type: ignore[arg-type]
    return to_uint8(picture.clamp(-1, 1))[0].astype(int)


@pytest.fixture(scope="module", params=METHODS)
def finished(request, tmp_path_factory, open_place, whole_recipe, draw_pictures):
    """(generator, tables by name) of a recipe run from files to partners, by each method."""
    method, G = request.param, random_generator()
    folder = tmp_path_factory.mktemp(method)
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = open_place(folder, monkeypatch)
        draw_pictures(folder / "pictures", 6)
        card = {
            "name": "generator",
            "kind": "generator",
            "architecture": {"name": "stylegan2", "config": G.config},
            "licence": "none",
            "provenance": "a test",
        }
        write_network(folder, "generator", G.state_dict(), card)
        recipe = whole_recipe()
        recipe |= {
            "alignment": {"kind": "centre", "size_px": PX},
            "generator": {"name": "stylegan2", "weights": str(folder / "generator.safetensors")},
            "methods": {method: METHODS[method]},
            "augmentation": {
                "method": method,
                "target": "red",
                "protected": "green",
                "min_distance": 3.0,  # a random generator is not linear
            },
            "checks": {"min_psnr_db": -50.0},
        }
        place.write(recipe)
        assert place.run()["failures"] == []
        tables = {
            table: [row for batch in place.store.read_all(table) for row in batch.to_pylist()]
            for table in place.store.tables()
        }
    return G, method, tables


def test_every_latent_has_its_state_and_the_figures_count_it(finished):
    G, method, tables = finished
    rows = tables[f"latents/{method}"]
    assert len(rows) == 6 and all(row["state"] for row in rows)
    crops = {row["crop_id"]: pixels(row["crop"]) for row in tables["aligned"]}
    for row in rows:
        error = (drawn(G, row, row["state"]) - crops[row["crop_id"]]) / 127.5
        assert row["mse"] == pytest.approx(float((error**2).mean()), rel=0.02)
        assert perceptual_column("pixels") in row


@pytest.mark.parametrize("kind", ["edits", "augmentation"])
def test_what_is_made_of_a_latent_is_drawn_with_its_state(finished, kind):
    G, method, tables = finished
    states = {row["crop_id"]: row["state"] for row in tables[f"latents/{method}"]}
    rows = next(rows for table, rows in tables.items() if table.startswith(kind))
    assert rows
    for row in rows:
        picture = pixels(row["picture"])
        with_state, without = (
            np.abs(picture - drawn(G, row, state)).mean()
            for state in (states[row["crop_id"]], None)
        )
        assert with_state < 4, "JPEG alone stands between them"
        assert with_state < 0.7 * without
