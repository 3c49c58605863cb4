"""Inversion of images by one arm, timed, and the quality of the reconstructions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from benchmarks.compare.budgets import Arm
from benchmarks.compare.domains import Domain, PictureSet
from benchmarks.compare.results import Values
from invertory.generators.state import pack
from invertory.inversion.drawing import draw_latents
from invertory.metrics.pixel import mse, psnr_db
from invertory.metrics.ssim import ssim
from invertory.portraits.attributes import DECIDED

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

IDENTITY = "identity (cosine, classifier embedding)"
AGREEMENT = "attribute agreement"
SECONDS, STATE = "seconds a picture", "state (bytes)"
RENDER_BATCH = 32


@dataclass(frozen=True, slots=True)
class Inverted:
    """Results of an inversion on the CPU, in the order of the images."""

    w_plus: Tensor  # [N, num_ws, w_dim]
    state: Mapping[str, Tensor]
    is_finite: Tensor  # [N]
    seconds: float  # per image, in a batched run after warm-up
    maps: Mapping[str, Tensor] = field(default_factory=dict)  # [N, 1, h, w] in [0, 1]

    def rows(self, index: Tensor) -> Inverted:
        state, maps = (
            {name: tensor[index] for name, tensor in tensors.items()}
            for tensors in (self.state, self.maps)
        )
        return Inverted(self.w_plus[index], state, self.is_finite[index], self.seconds, maps)


def invert(
    domain: Domain, arm: Arm, targets: Tensor, *, batch: int, is_timed: bool = False
) -> Inverted:
    """Invert `targets`; with `is_timed`, after a short run that loads kernels."""
    networks = domain.networks(arm)
    if networks is None:
        raise FileNotFoundError(domain.absent.get(arm.name) or domain.failed[arm.name])
    G, images = domain.family(arm).generator, targets.to(domain.device)

    def run(method_arm: Arm, some: Tensor) -> Inverted:
        start = _now(domain.device)
        found = method_arm.build().invert(
            G,
            some,
            seeds=range(len(some)),
            perceptual=domain.loss,
            batch_size=batch,
            networks=networks,
        )
        seconds = (_now(domain.device) - start) / len(some)
        w_plus = found.latents.expand(-1, G.num_ws, -1).cpu()
        state, maps = (
            {name: tensor.cpu() for name, tensor in tensors.items()}
            for tensors in (found.state, found.maps)
        )
        return Inverted(w_plus, state, found.is_finite.cpu(), seconds, maps)

    if is_timed:
        run(_short(arm), images[:batch])
    return run(arm, images)


@torch.no_grad()
def rendered(
    domain: Domain, arm: Arm, inverted: Inverted, px: int, *, w_plus: Tensor | None = None
) -> Tensor:
    """Images [N, 3, px, px] as the method draws them, on the CPU; `w_plus`: edited latents."""
    method, generator = arm.build(), domain.family(arm).generator
    networks = domain.networks(arm) or {}
    is_small = not inverted.state and px <= generator.preview_resolution
    latents, found = inverted.w_plus if w_plus is None else w_plus, []
    for start in range(0, len(latents), RENDER_BATCH):
        rows = slice(start, start + RENDER_BATCH)
        w, origin = (x[rows].to(domain.device) for x in (latents, inverted.w_plus))
        state = {name: tensor[rows].to(domain.device) for name, tensor in inverted.state.items()}
        if is_small:
            made = generator.preview(w, px)
        else:
            made = draw_latents(method, generator, w, state, origin=origin, networks=networks)
        found.append(fitted(made, px))
    return torch.cat(found) if found else torch.zeros(0, 3, px, px)


@torch.no_grad()
def synthesised(domain: Domain, generator: Generator, w_plus: Tensor, px: int) -> Tensor:
    """Images [N, 3, px, px] of sampled latents in bf16, precise enough for scores."""
    made = []
    for part in torch.split(w_plus, RENDER_BATCH):
        with torch.autocast(domain.device.type, torch.bfloat16):
            is_small = px <= generator.preview_resolution
            w = part.to(domain.device)
            made.append(
                fitted(generator.preview(w, px) if is_small else generator.synthesis(w), px)
            )
    return torch.cat(made)


def fitted(images: Tensor, px: int) -> Tensor:
    """Images resized to `px`, in [-1, 1], float32, on the CPU."""
    if images.shape[-1] != px:
        images = interpolate(images.float(), (px, px), mode="area")
    return images.float().clamp(-1, 1).cpu()


def state_bytes(inverted: Inverted) -> Values:
    """[N]: compressed bytes of each image's state, 0 without one."""
    n = len(inverted.w_plus)
    if not inverted.state:
        return np.zeros(n)
    rows = [pack(inverted.state, i) for i in range(n)]
    return np.array([len(pa.compress(row, codec="zstd", asbytes=True)) for row in rows], float)


@torch.no_grad()
def measured(domain: Domain, chosen: PictureSet, made: Tensor) -> dict[str, Values]:
    """All measures of reconstructions [N, 3, H, H] against the images of the set."""
    targets = chosen.targets
    found = {
        "MSE": mse(made, targets),
        "PSNR (dB)": psnr_db(made, targets),
        "SSIM": ssim(made, targets),
    }
    for perceptual in domain.measures:
        found[perceptual.name] = _distance(domain, perceptual, made, targets)
    if domain.classifier is not None:
        found[IDENTITY] = cosine_similarity(embedding(domain, made), embedding(domain, targets))
    if domain.referee is not None and chosen.portraits:
        found |= agreement(scores_of(domain, domain.referee, made), chosen, domain.referee)
    return {name: values.double().numpy() for name, values in found.items()}


def agreement(
    scores: Tensor, chosen: PictureSet, referee: AttributeClassifier
) -> dict[str, Tensor]:
    """Agreement of the referee with the true attributes: the share per image, and each, 0 or 1.

    The referee scores all attributes that it knows, [N, A].
    """
    names = [name for name in DECIDED if name in referee.attributes]
    predicted = scores[:, [referee.attributes.index(name) for name in names]] > 0.5
    is_right = (predicted == (chosen.truth(names) > 0.5)).float()
    each = {f"{AGREEMENT}/{name}": is_right[:, i] for i, name in enumerate(names)}
    return {AGREEMENT: is_right.mean(1)} | each


@torch.no_grad()
def scores_of(domain: Domain, judge: AttributeClassifier, images: Tensor) -> Tensor:
    """Probabilities [N, A], on the CPU."""
    parts = torch.split(images, RENDER_BATCH)
    return torch.cat([judge.scores(part.to(domain.device)).float().cpu() for part in parts])


def without_rejects(columns: dict[str, Values], is_finite: Tensor) -> dict[str, Values]:
    """The columns with NaN in rejected rows."""
    keep = is_finite.numpy()
    return {name: np.where(keep, values, np.nan) for name, values in columns.items()}


def embedding(domain: Domain, images: Tensor) -> Tensor:
    """Embeddings [N, D] of the classifier, on the CPU."""
    if domain.classifier is None:
        raise ValueError("expected a classifier for its embedding, got none; pass one")
    parts = torch.split(images, RENDER_BATCH)
    with torch.no_grad():
        return torch.cat([domain.classifier.embedding(p.to(domain.device)).cpu() for p in parts])


def _distance(domain: Domain, perceptual: Perceptual, made: Tensor, targets: Tensor) -> Tensor:
    found = []
    for start in range(0, len(made), RENDER_BATCH):
        rows = slice(start, start + RENDER_BATCH)
        fa, fb = (perceptual.features(x[rows].to(domain.device)) for x in (made, targets))
        found.append(perceptual.distance(fa, fb).float().cpu())
    return torch.cat(found)


def _short(arm: Arm) -> Arm:
    """The arm with a single step in each of its phases."""
    method = arm.build()
    steps = [name for name in arm.fields if name == "steps" or name.endswith("_steps")]
    fewer = {name: min(int(getattr(method, name)), 2) for name in steps}
    return replace(arm, parameters={**arm.parameters, **fewer})


def _now(device: torch.device) -> float:
    """CPU time with one thread, since the machine may be shared, otherwise wall time."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    is_alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if is_alone else time.perf_counter()
