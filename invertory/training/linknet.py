"""Trains a LinkNet: pairs of latents and an attribute net's labels, drawn from the generator.

MAGECally invert images for realistic editing, Grechka, Goudou and Cord, BMVC 2021, section 3:
binary cross-entropy with the thresholded labels that F gives G(w), Adam at its default rate. As in
the first author's thesis the rows of a latent are drawn independently. The paper goes ten times
over 50,000 pairs; ours are drawn afresh at each step and seen once, so nothing need be stored.

Before the first step, the editor is fitted: for each attribute an InterFaceGAN boundary on latents
of one w, its normal scaled to one standard deviation of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from invertory.boundaries import fit_boundary
from invertory.linknet import LinkNet
from invertory.training.compute import Compute

if TYPE_CHECKING:
    from torch import nn

    from invertory.classifier import AttributeClassifier
    from invertory.generators import Generator

HELD_OUT, FITTED = 1, 2  # streams of draws beside that of the steps, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkNetConfig:
    """Settings of the training."""

    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    min_share: float = 0.02  # attributes that the generator shows or hides more rarely are left out
    num_fitted: int = 2000  # samples that the editor's boundaries are fitted on
    ratio: float = 0.2  # of them, chosen at either end
    num_held_out: int = 1024


@dataclass
class LinkNetTraining:
    """`Training` of a LinkNet for `generator`, with `classifier` as F."""

    generator: Generator
    classifier: AttributeClassifier
    config: LinkNetConfig = field(default_factory=LinkNetConfig)
    compute: Compute = field(default_factory=Compute)
    name: str = "linknet"
    linknet: LinkNet = field(init=False)
    optimiser: torch.optim.Adam = field(init=False)
    _columns: list[int] = field(init=False)  # of F's attributes, those that the LinkNet tells

    def __post_init__(self) -> None:
        G, F = self.generator, self.classifier
        w = self._mapped(self.config.num_fitted, FITTED)  # (N, 1, w_dim)
        scores = self._scores(w.expand(-1, G.num_ws, -1))
        share = (scores > 0.5).float().mean(0)
        rare = self.config.min_share
        shown = [i for i, s in enumerate(share.tolist()) if rare <= s <= 1 - rare]
        if not shown:
            raise ValueError(
                f"expected attributes on {rare:.0%} to {1 - rare:.0%} of the generator's pictures, "
                "got none; use a classifier of what this generator draws"
            )
        self._columns = shown
        names = [F.attributes[i] for i in shown]
        self.linknet = LinkNet(num_ws=G.num_ws, w_dim=G.w_dim, attributes=names).to(w.device)
        self.linknet.directions.copy_(self._fitted(w, scores[:, shown]))
        self.optimiser = torch.optim.Adam(self.linknet.parameters(), lr=self.config.learning_rate)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """One batch of fresh pairs."""
        w_plus, labels = self._pairs(self.batch_size, 0, step)
        logits = self.linknet(w_plus)
        loss = binary_cross_entropy_with_logits(logits, labels)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        agreement = ((logits > 0) == (labels > 0.5)).float().mean()
        return {"bce": loss.detach(), "agreement": agreement}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Agreement with F's labels on held-out pairs, in all and by attribute."""
        w_plus, labels = self._pairs(self.config.num_held_out, HELD_OUT)
        logits = self.linknet(w_plus)
        agreement = ((logits > 0) == (labels > 0.5)).float().mean(0)
        majority = torch.maximum(labels.mean(0), 1 - labels.mean(0))
        each = zip(self.linknet.attributes, agreement.tolist(), strict=True)
        return {
            "agreement": float(agreement.mean()),
            "majority": float(majority.mean()),  # what always saying the commoner label gives
            "bce": float(binary_cross_entropy_with_logits(logits, labels)),
            **{f"agreement_{name}": value for name, value in each},
        }

    def sheet(self) -> None:
        """Nothing to see."""

    def state_dict(self) -> dict[str, Any]:
        return {"linknet": self.linknet.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.linknet.load_state_dict(state["linknet"])
        self.optimiser.load_state_dict(state["optimiser"])

    def networks(self) -> dict[str, nn.Module]:
        return {"linknet": self.linknet}

    def _mapped(self, num: int, stream: int, step: int = 0, rows: int = 1) -> Tensor:
        """w [num, rows, w_dim] of independent draws."""
        rng = self.compute.rng(self.config.seed, step, stream)
        z = torch.randn(num * rows, self.generator.z_dim, generator=rng, device=self.compute.device)
        with torch.no_grad():
            return self.generator.mapping(z).view(num, rows, -1)

    def _pairs(self, num: int, stream: int, step: int = 0) -> tuple[Tensor, Tensor]:
        """=> w_plus [num, num_ws, w_dim] with independent rows, F's labels [num, A] of 0 and 1."""
        w_plus = self._mapped(num, stream, step, self.generator.num_ws)
        return w_plus, (self._scores(w_plus)[:, self._columns] > 0.5).float()

    @torch.no_grad()
    def _scores(self, w_plus: Tensor) -> Tensor:
        """F's probabilities of the binary attributes of G(w), [N, num_binary]."""
        G, F = self.generator, self.classifier
        parts = []
        for part in torch.split(w_plus, self.batch_size):
            with self.compute.autocast():
                scores = F.scores(G.preview(part).clamp(-1, 1)).float()
                parts.append(scores[:, : F.num_binary])
        return torch.cat(parts)

    def _fitted(self, w: Tensor, scores: Tensor) -> Tensor:
        """The editor's directions [A, num_ws, w_dim]; every row moves alike."""
        directions = []
        for i in range(scores.shape[1]):
            boundary = fit_boundary(
                w.cpu(), scores[:, i].cpu(), ratio=self.config.ratio, solver="linear"
            )
            directions.append(boundary.normal.float() * float(boundary.spread or 1.0))
        return torch.stack(directions).expand(-1, self.generator.num_ws, -1).to(w)
