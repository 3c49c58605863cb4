"""Crops become latents with metrics, independent of threads and batches."""

from __future__ import annotations

import io
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from invertory.generators.toy import ToyGenerator
from invertory.images import decode, encode, to_tensor, to_uint8
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.in_domain.domain_guided_encoder import DomainGuidedEncoder
from invertory.metrics.pixel import psnr_db
from invertory.metrics.ssim import ssim
from invertory.ops.invert import Invert, latent_column, seed_of
from invertory.ops.schemas import latent_type
from invertory.ops.streams import run
from invertory.perceptual import PixelPyramid

G = ToyGenerator(resolution=16)
CPU = torch.device("cpu")


class Looks(nn.Module):
    """An encoder whose latent depends on the colours; black images give non-finite values."""

    w_dim, num_ws = G.w_dim, 1

    def forward(self, x: Tensor) -> Tensor:
        colour = x.mean((2, 3))
        w = torch.sin(colour[:, :1] * torch.arange(1.0, G.w_dim + 1))
        return torch.where((x.amax((1, 2, 3)) < -0.99)[:, None], torch.nan, w)[:, None]


def crops(num: int) -> pa.RecordBatch:
    rng = torch.Generator().manual_seed(1)
    w = torch.randn(num, 1, G.w_dim, generator=rng).expand(-1, G.num_ws, -1)
    pictures = [to_uint8(picture) for picture in G.synthesis(w).clamp(-1, 1)]
    cells = [{"bytes": encode(picture), "path": None} for picture in pictures]
    ids = [f"{i}:0" for i in range(num)]
    return pa.RecordBatch.from_pydict({"crop_id": ids, "image_id": ids, "crop": cells})


def verb(method: object = None, batch_size: int = 4) -> Invert:
    return Invert(
        method=method or DomainGuidedEncoder(),  # type: ignore[arg-type]
        generator=G,
        perceptual=PixelPyramid(),
        device=CPU,
        batch_size=batch_size,
        image_quality=100,
        networks={"encoder": Looks()},
    )


def test_metrics_are_those_of_the_stored_latent_and_synth() -> None:
    done = verb()(crops(6))
    assert (done.num_inputs, done.rows.num_rows, done.rejects.num_rows) == (6, 6, 0)
    assert done.rows.schema == verb().schema
    assert done.rows["seed"].to_pylist() == [seed_of(f"{i}:0") for i in range(6)]
    targets = torch.cat([to_tensor(decode(c["bytes"].as_py()).pixels) for c in crops(6)["crop"]])
    synths = G.synthesis(torch.tensor(done.rows["latent"].to_pylist())).clamp(-1, 1)
    np.testing.assert_allclose(done.rows["psnr_db"], psnr_db(synths, targets), rtol=1e-5)
    np.testing.assert_allclose(done.rows["ssim"], ssim(synths, targets), rtol=1e-4, atol=1e-6)
    for cell, synth in zip(done.rows["synth"], synths, strict=True):
        stored = np.asarray(Image.open(io.BytesIO(cell["bytes"].as_py())))
        assert np.abs(stored.astype(int) - to_uint8(synth)).max() <= 4


def test_an_image_that_the_method_synthesised_is_reused() -> None:
    """A method with reduced resolution is rendered in full afterwards, with the same metrics."""
    at_once, again = verb(), verb(DomainGuidedEncoder(loss_px=15))
    targets = torch.cat([to_tensor(decode(c["bytes"].as_py()).pixels) for c in crops(3)["crop"]])
    found = [
        v.method.invert(G, targets, seeds=range(3), perceptual=v.perceptual, batch_size=2,
                        networks=v.networks) for v in (at_once, again)
    ]  # fmt: skip
    assert found[0].synths is not None and found[1].synths is None
    one, other = at_once(crops(3)).rows, again(crops(3)).rows
    for name in ("latent", "synth", "mse", "psnr_db", "ssim"):
        assert one[name].equals(other[name]), name
    np.testing.assert_allclose(one["perceptual_pixels"], other["perceptual_pixels"], rtol=1e-6)


@pytest.mark.parametrize("method", [DomainGuidedEncoder(), Image2StyleGAN(steps=3)])
def test_batches_and_chunks_do_not_change_the_rows(method: object) -> None:
    whole = pa.Table.from_batches([verb(method, batch_size=9)(crops(9)).rows])
    streamed = run(verb(method, batch_size=2), [crops(9)], commit_rows=4)
    parts = pa.Table.from_batches(part.rows for part in streamed)
    assert parts["crop_id"].to_pylist() == whole["crop_id"].to_pylist()
    for name in ("latent", "psnr_db", "loss", "perceptual_pixels"):
        a, b = (np.array(table[name].to_pylist()) for table in (whole, parts))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_crop_with_a_non_finite_result_is_a_reject_and_the_others_keep_their_order() -> None:
    class Broken(PixelPyramid):
        def features(self, x: Tensor) -> list[Tensor]:
            is_dark = (x.amax((1, 2, 3)) < -0.99)[:, None, None, None]
            return [torch.where(is_dark, torch.nan, f) for f in super().features(x)]

    batch = crops(4)
    cells = batch["crop"].to_pylist()
    cells[1] = {"bytes": encode(np.zeros((16, 16, 3), np.uint8)), "path": None}
    batch = batch.set_column(2, "crop", pa.array(cells))
    broken = Invert(**{**vars(verb()), "perceptual": Broken()})
    done = broken(batch)
    assert done.rows["crop_id"].to_pylist() == ["0:0", "2:0", "3:0"]
    assert done.rejects["row_id"].to_pylist() == ["1:0"]
    assert done.rejects["status"].to_pylist() == ["non_finite"]
    rest = verb()(crops(4)).rows.take(pa.array([0, 2, 3]))
    assert done.rows["latent"].equals(rest["latent"])
    assert all(math.isfinite(value) for value in done.rows["loss"].to_pylist())


@pytest.mark.parametrize("shape", [(3, 1, 4), (2, 5, 3), (0, 2, 2)])
def test_a_latent_column_equals_nested_lists(shape: tuple[int, ...]) -> None:
    latents = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    column = latent_column(latents)
    assert column.type == latent_type(*shape[1:])
    assert column.equals(pa.array(latents.tolist(), latent_type(*shape[1:])))
