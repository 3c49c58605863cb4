"""Trains e4e: an encoder whose latents stay near W, so that they can be edited.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. Beside pSp's losses: offsets of the rows from the first are let in
one by one and kept short, and a discriminator of latents judges each row.
Which rows it learns from is where print and code differ, and `preset` chooses:

    paper   every row that has been let in
    code    of each picture one row, drawn at random

Progress is told in shares of the run: of the published 200,000 steps the first offset comes after
20,000 and one more each 2,000. Of the published optimiser see `pyramid_encoders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from invertory.encoders.pyramid import Heads
from invertory.training.adversarial import discriminator_loss, generator_loss
from invertory.training.loop.run import Composed
from invertory.training.optimiser import seeded
from invertory.training.pyramid.config import PyramidEncoderConfig
from invertory.training.pyramid.latent_discriminator import CodePool, LatentDiscriminator
from invertory.training.pyramid.psp import Goal, PyramidEncoderTraining

_REAL, _ROWS, _POOL = 2, 3, 4  # streams of draws


@dataclass(frozen=True, slots=True, kw_only=True)
class E4EConfig(PyramidEncoderConfig):
    """Settings of a run; weights are the paper's."""

    preset: Literal["paper", "code"] = "code"
    images: int = 1_600_000
    delta_norm_weight: float = 2e-4
    adversarial_weight: float = 0.1
    progressive_from: float = 0.1  # share of the run before the first offset
    progressive_every: float = 0.01  # share of the run from one offset to the next
    discriminator_rate: float = 2e-5
    r1_gamma: float = 10.0
    r1_every: int = 16  # steps; the penalty is multiplied by it
    pool_size: int = 50  # codes; of the generator's own as of the encoder's


Config = TypeVar("Config", bound=E4EConfig)


class LatentJudge(Composed):
    """The discriminator of latents with its optimiser and pools."""

    def __init__(self, config: E4EConfig, w_mean: Tensor, w_scale: Tensor) -> None:
        self._config, device = config, str(w_mean.device)
        made = seeded(lambda: LatentDiscriminator(w_mean.cpu(), w_scale.cpu()), config.seed + 1)
        self.network = made.to(device)
        self._optimiser = torch.optim.Adam(made.parameters(), lr=config.discriminator_rate)
        self._pools = {
            name: CodePool(config.pool_size, len(w_mean), device) for name in ("real", "made")
        }

    def fooled(self, codes: Tensor) -> Tensor:
        """The encoder's loss for rows of codes [N, rows, w_dim]."""
        self.network.requires_grad_(False)
        return generator_loss(self.network(codes.flatten(0, 1)))

    def learn(self, real: Tensor, made: Tensor, step: int, rng: torch.Generator) -> dict[str, Any]:
        """One step on w of the generator and of the encoder, [N, w_dim] each => its losses."""
        config = self._config
        self.network.requires_grad_(True)
        real = self._pools["real"].exchange(real, rng)
        made = self._pools["made"].exchange(made.detach().float(), rng)
        losses = {"discriminator": discriminator_loss(self.network(real), self.network(made))}
        total = losses["discriminator"]
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            losses["r1"] = self.network.r1_penalty(real)
            total = total + config.r1_every * config.r1_gamma / 2 * losses["r1"]
        self._optimiser.zero_grad()
        torch.autograd.backward(total)
        self._optimiser.step()
        return losses

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimiser": self._optimiser, **self._pools}


class E4ETraining(PyramidEncoderTraining[Config]):
    """`Training` of e4e's encoder; see `PyramidEncoderTraining` for what it takes."""

    name = "e4e"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.judge = LatentJudge(self.config, self.w_mean, self.w_scale)

    @property
    def heads(self) -> Heads:
        return "e4e"

    @property
    def weights(self) -> dict[str, float]:
        """Loss => weight."""
        config = self.config
        added = {
            "delta_norm": config.delta_norm_weight,
            "adversarial": config.adversarial_weight,
        }
        return super().weights | added

    def num_deltas(self, step: int) -> int:
        """Rows beside the first that have an offset at a step."""
        config = self.config
        late = step * self.batch_size / config.images - config.progressive_from + 1e-9  # rounding
        num = 0 if late < 0 else 1 + int(late / config.progressive_every)
        return min(num, self.generator.num_ws - 1)

    def _accumulate(self, goal: Goal, step: int) -> dict[str, Tensor]:
        num_deltas = self.num_deltas(step)
        with self.compute.autocast():
            codes = self._encoder.network(goal.seen, num_deltas=num_deltas)
        losses, _ = self._losses(codes, goal)
        losses |= self._latent_losses(codes, num_deltas)
        torch.autograd.backward(self._total(losses))
        return losses | self._judged(codes, num_deltas, step)

    def _latent_losses(self, codes: Tensor, num_deltas: int) -> dict[str, Tensor]:
        """Of the rows let in: length of the offsets, and how far the judge sees through them."""
        losses = {}
        if num_deltas and self.weights["delta_norm"]:
            deltas = codes[:, 1 : num_deltas + 1] - codes[:, :1]
            losses["delta_norm"] = deltas.norm(dim=2).mean(0).sum()  # sum over rows
        if self.weights["adversarial"]:
            losses["adversarial"] = self.judge.fooled(codes[:, : num_deltas + 1])
        return losses

    def _judged(self, codes: Tensor, num_deltas: int, step: int) -> dict[str, Tensor]:
        """One step of the judge."""
        if not self.weights["adversarial"]:
            return {}
        rows = codes.detach()[:, : num_deltas + 1]
        if self.config.preset == "code":
            rng = self.compute.rng(self.config.seed, step, _ROWS)
            shape, device = (len(rows), 1, 1), rows.device
            chosen = torch.randint(num_deltas + 1, shape, generator=rng, device=device)
            rows = rows.gather(1, chosen.expand(-1, -1, rows.shape[2]))
        made = rows.flatten(0, 1)
        real = self._w_drawn(len(made), step, _REAL)
        rng = self.compute.rng(self.config.seed, step, _POOL)
        return self.judge.learn(real, made, step, rng)

    def _told_of(self, codes: Tensor) -> dict[str, float]:
        """How far rows are from the first, mean |w_i - w_0|; how the judge sees codes and w's."""
        told = {"delta_norm": float((codes[:, 1:] - codes[:, :1]).norm(dim=2).mean())}
        if not self.weights["adversarial"]:
            return told
        real = self._w_drawn(len(codes), 0, _REAL)
        with torch.no_grad():
            told_real = self.judge.network(real).sigmoid().mean()
            told_made = self.judge.network(codes.flatten(0, 1).float()).sigmoid().mean()
        return told | {"judged_real": float(told_real), "judged_made": float(told_made)}

    def state_dict(self) -> dict[str, Any]:
        return {"encoder": super().state_dict(), "judge": self.judge.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state["encoder"])
        self.judge.load_state_dict(state["judge"])
