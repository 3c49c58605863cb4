"""Trains e4e, an encoder whose latents stay near W, so that they can be edited.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. In addition to pSp's losses, offsets of the rows from the first
row are enabled one by one and regularised, and a discriminator of latents sees each row. Paper and
code differ in the rows that the discriminator learns from, and `preset` chooses:

    paper   every enabled row
    code    one random enabled row per image

Progress is a share of the run: in the published 200,000 steps, the first offset is enabled after
20,000 and one more every 2,000 steps. For the published optimiser see psp.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from invertory.encoders.pyramid import Heads
from invertory.training.adversarial import discriminator_loss, generator_loss
from invertory.training.loop.run import CompositeState
from invertory.training.optimiser import seeded
from invertory.training.pyramid.config import PyramidEncoderConfig
from invertory.training.pyramid.latent_discriminator import CodePool, LatentDiscriminator
from invertory.training.pyramid.psp import PyramidEncoderTraining, TargetBatch

_REAL, _ROWS, _POOL = 2, 3, 4  # random streams


@dataclass(frozen=True, slots=True, kw_only=True)
class E4EConfig(PyramidEncoderConfig):
    """Settings of a run; the weights are the paper's."""

    preset: Literal["paper", "code"] = "code"
    images: int = 1_600_000
    delta_norm_weight: float = 2e-4
    adversarial_weight: float = 0.1
    progressive_from: float = 0.1  # share of the run before the first offset
    progressive_every: float = 0.01  # share of the run from one offset to the next
    discriminator_rate: float = 2e-5
    r1_gamma: float = 10.0
    r1_every: int = 16  # steps; the penalty is multiplied by it
    pool_size: int = 50  # codes in each pool, the generator's and the encoder's


Config = TypeVar("Config", bound=E4EConfig)


class LatentJudge(CompositeState):
    """The discriminator of latents with its optimiser and pools."""

    def __init__(self, config: E4EConfig, w_mean: Tensor, w_scale: Tensor) -> None:
        self._config, device = config, str(w_mean.device)
        network = seeded(lambda: LatentDiscriminator(w_mean.cpu(), w_scale.cpu()), config.seed + 1)
        self.network = network.to(device)
        self._optimiser = torch.optim.Adam(network.parameters(), lr=config.discriminator_rate)
        self._pools = {
            name: CodePool(config.pool_size, len(w_mean), device) for name in ("real", "made")
        }

    def fooled(self, codes: Tensor) -> Tensor:
        """The encoder's adversarial loss for rows of codes [N, rows, w_dim]."""
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

    def _components(self) -> dict[str, Any]:
        return {"network": self.network, "optimiser": self._optimiser, **self._pools}


class E4ETraining(PyramidEncoderTraining[Config]):
    """`Training` of e4e's encoder; see `PyramidEncoderTraining` for its arguments."""

    name = "e4e"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.judge = LatentJudge(self.config, self.w_mean, self.w_scale)

    @property
    def heads(self) -> Heads:
        return "e4e"

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss."""
        config = self.config
        added = {
            "delta_norm": config.delta_norm_weight,
            "adversarial": config.adversarial_weight,
        }
        return super().weights | added

    def num_deltas(self, step: int) -> int:
        """The number of rows, besides the first, with an enabled offset at a step."""
        config = self.config
        late = step * self.batch_size / config.images - config.progressive_from + 1e-9  # rounding
        num = 0 if late < 0 else 1 + int(late / config.progressive_every)
        return min(num, self.generator.num_ws - 1)

    def _accumulate(self, batch: TargetBatch, step: int) -> dict[str, Tensor]:
        num_deltas = self.num_deltas(step)
        with self.compute.autocast():
            codes = self._encoder.network(batch.seen, num_deltas=num_deltas)
        losses, _ = self._losses(codes, batch)
        losses |= self._latent_losses(codes, num_deltas)
        torch.autograd.backward(self._total(losses))
        return losses | self._step_judge(codes, num_deltas, step)

    def _latent_losses(self, codes: Tensor, num_deltas: int) -> dict[str, Tensor]:
        """Losses of the enabled rows: norms of offsets, and the adversarial loss."""
        losses = {}
        if num_deltas and self.weights["delta_norm"]:
            deltas = codes[:, 1 : num_deltas + 1] - codes[:, :1]
            losses["delta_norm"] = deltas.norm(dim=2).mean(0).sum()  # sum over rows
        if self.weights["adversarial"]:
            losses["adversarial"] = self.judge.fooled(codes[:, : num_deltas + 1])
        return losses

    def _step_judge(self, codes: Tensor, num_deltas: int, step: int) -> dict[str, Tensor]:
        """One step of the discriminator of latents."""
        if not self.weights["adversarial"]:
            return {}
        rows = codes.detach()[:, : num_deltas + 1]
        if self.config.preset == "code":
            rng = self.compute.rng(self.config.seed, step, _ROWS)
            shape, device = (len(rows), 1, 1), rows.device
            chosen = torch.randint(num_deltas + 1, shape, generator=rng, device=device)
            rows = rows.gather(1, chosen.expand(-1, -1, rows.shape[2]))
        made = rows.flatten(0, 1)
        real = self._draw_w(len(made), step, _REAL)
        rng = self.compute.rng(self.config.seed, step, _POOL)
        return self.judge.learn(real, made, step, rng)

    def _code_metrics(self, codes: Tensor) -> dict[str, float]:
        """Mean |w_i - w_0|, and the discriminator's mean probabilities of real w and codes."""
        metrics = {"delta_norm": float((codes[:, 1:] - codes[:, :1]).norm(dim=2).mean())}
        if not self.weights["adversarial"]:
            return metrics
        real = self._draw_w(len(codes), 0, _REAL)
        with torch.no_grad():
            real_score = self.judge.network(real).sigmoid().mean()
            encoder_score = self.judge.network(codes.flatten(0, 1).float()).sigmoid().mean()
        return metrics | {"judged_real": float(real_score), "judged_made": float(encoder_score)}

    def state_dict(self) -> dict[str, Any]:
        return {"encoder": super().state_dict(), "judge": self.judge.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state["encoder"])
        self.judge.load_state_dict(state["judge"])
