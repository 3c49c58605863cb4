"""Trains a LinkNet on latents drawn from the generator and an attribute network's labels.

MAGECally invert images for realistic editing, Grechka, Goudou and Cord, BMVC 2021, section 3:
binary cross-entropy with the thresholded labels of F(G(w)), and Adam with its default rate. As in
the first author's thesis, rows of a latent are drawn independently. The paper trains ten epochs on
50,000 pairs; ours are drawn at each step and used once, so nothing is stored.

Our additions: the map is trained on w - w_avg and stored for w, which is equivalent, but decouples
bias and weights during training. Part of a batch can be latents of a single w (`single`) or of two
that cross at a row (`crossed`, StyleGAN's style mixing), because generators are trained on latents
of one w and their attributes are easier to predict.

Before the first step, the editor is fitted: one InterFaceGAN boundary per attribute on latents of
one w, with its normal scaled to one standard deviation of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from invertory.boundaries import fit_boundary
from invertory.metrics.attributes import Confusion, roc_auc
from invertory.networks.linknet import LinkNet
from invertory.training.compute import Compute
from invertory.training.optimiser import cosine_rate

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.networks.classifier import AttributeClassifier

Kind = Literal["independent", "single", "crossed"]  # how the rows of a latent are drawn
KINDS: Final[tuple[Kind, ...]] = ("independent", "single", "crossed")
# Random streams; the streams of steps are the indices into KINDS.
HELD_OUT, FITTED = 10, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkNetConfig:
    """Settings of the training. By default latents are drawn as in the thesis."""

    batch_size: int = 64
    learning_rate: float = 1e-3
    images: int = 0  # images over which the rate decays to 0; 0: constant
    single: float = 0.0  # share of a batch with a single w per latent
    crossed: float = 0.0  # share with two w per latent, crossed at a row
    seed: int = 0
    min_share: float = 0.02  # attributes with a rarer label are left out
    num_fitted: int = 2000  # samples for the boundaries of the editor
    ratio: float = 0.2  # share of these selected at either end
    num_held_out: int = 1024  # of each kind of latent

    def __post_init__(self) -> None:
        if min(self.single, self.crossed) < 0 or self.single + self.crossed > 1:
            raise ValueError(
                "expected non-negative shares for single and crossed, together at most 1, "
                f"got {self.single} and {self.crossed}; the rest of a batch has independent rows"
            )

    def num_by_kind(self, num: int) -> dict[Kind, int]:
        """The number of latents of each kind out of `num`."""
        single, crossed = round(self.single * num), round(self.crossed * num)
        crossed = min(crossed, num - single)
        return {"independent": num - single - crossed, "single": single, "crossed": crossed}


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
    _columns: list[int] = field(init=False)  # columns of F that the LinkNet predicts
    _offset: Tensor = field(init=False)  # [A]: logits at w_avg

    def __post_init__(self) -> None:
        G, F = self.generator, self.classifier
        w = self._draw_w(self.config.num_fitted, FITTED)  # (N, 1, w_dim)
        scores = self._scores(w.expand(-1, G.num_ws, -1))
        share = (scores > 0.5).float().mean(0)
        rare = self.config.min_share
        columns = [i for i, s in enumerate(share.tolist()) if rare <= s <= 1 - rare]
        if not columns:
            raise ValueError(
                f"expected attributes on {rare:.0%} to {1 - rare:.0%} of the generator's images, "
                "got none; use a classifier of what this generator draws"
            )
        self._columns = columns
        names = [F.attributes[i] for i in columns]
        self.linknet = LinkNet(num_ws=G.num_ws, w_dim=G.w_dim, attributes=names).to(w.device)
        self.linknet.directions.copy_(self._fit_directions(w, scores[:, columns]))
        self._offset = torch.zeros(len(names), device=w.device, requires_grad=True)
        self.linknet.bias.requires_grad_(False)
        parameters = [self.linknet.weight, self._offset]
        self.optimiser = torch.optim.Adam(parameters, lr=self.config.learning_rate)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch of new pairs."""
        w_plus, labels = self._batch(step)
        logits = (w_plus - self.generator.w_avg).flatten(1) @ self.linknet.weight.T + self._offset
        loss = binary_cross_entropy_with_logits(logits, labels)
        if self.config.images:
            rate = cosine_rate(step * self.batch_size / self.config.images, 0.0)
            self.optimiser.param_groups[0]["lr"] = self.config.learning_rate * rate
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        self._update_bias()
        agreement = ((logits > 0) == (labels > 0.5)).float().mean()
        return {"bce": loss.detach(), "agreement": agreement}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measures on held-out pairs: <kind>/<measure> per kind, and plain names for all kinds.

        Agreement with F's labels and that of always predicting the more frequent label
        (`majority`); balanced accuracy and ROC AUC, which are insensitive to it, as means over the
        attributes for which the images have both labels. For all kinds together, also those of each
        attribute.
        """
        held_out = {kind: self._pairs(kind, self.config.num_held_out, HELD_OUT) for kind in KINDS}
        outputs = {
            kind: (self.linknet(w_plus), labels) for kind, (w_plus, labels) in held_out.items()
        }
        all_kinds = tuple(torch.cat(parts) for parts in zip(*outputs.values(), strict=True))
        metrics = _quality(*all_kinds)
        for kind, pairs in outputs.items():
            metrics |= {f"{kind}/{name}": value for name, value in _quality(*pairs).items()}
        logits, labels = all_kinds
        each = {
            "agreement": ((logits > 0) == (labels > 0.5)).float().mean(0),
            "balanced_accuracy": Confusion.of(logits > 0, labels > 0.5).balanced_accuracy,
            "roc_auc": roc_auc(logits, labels > 0.5),
        }
        for measure, values in each.items():
            named = zip(self.linknet.attributes, values.tolist(), strict=True)
            metrics |= {f"{measure}_{name}": value for name, value in named if value == value}
        return metrics

    def sheet(self) -> None:
        """There is no image to show."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "linknet": self.linknet.state_dict(),
            "offset": self._offset.detach(),
            "optimiser": self.optimiser.state_dict(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.linknet.load_state_dict(state["linknet"])
        self._offset.copy_(state["offset"])
        self.optimiser.load_state_dict(state["optimiser"])

    def networks(self) -> dict[str, nn.Module]:
        return {"linknet": self.linknet}

    def _draw_w(self, num: int, stream: int, step: int = 0, rows: int = 1) -> Tensor:
        """w [num, rows, w_dim] of independent draws."""
        rng = self.compute.rng(self.config.seed, step, stream)
        z = torch.randn(num * rows, self.generator.z_dim, generator=rng, device=self.compute.device)
        with torch.no_grad():
            return self.generator.mapping(z).view(num, rows, -1)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The pairs of a step: w_plus [N, num_ws, w_dim], labels [N, A]."""
        num_by_kind = self.config.num_by_kind(self.batch_size)
        parts = [
            self._draw_latents(kind, num, stream, step)
            for stream, (kind, num) in enumerate(num_by_kind.items())
            if num
        ]
        w_plus = torch.cat(parts)
        return w_plus, self._labels(w_plus)

    def _pairs(self, kind: Kind, num: int, stream: int) -> tuple[Tensor, Tensor]:
        w_plus = self._draw_latents(kind, num, stream + KINDS.index(kind), 0)
        return w_plus, self._labels(w_plus)

    def _draw_latents(self, kind: Kind, num: int, stream: int, step: int) -> Tensor:
        """w_plus [num, num_ws, w_dim] whose rows are drawn according to `kind`."""
        num_ws = self.generator.num_ws
        if kind == "independent":
            return self._draw_w(num, stream, step, num_ws)
        if kind == "single":
            return self._draw_w(num, stream, step).expand(-1, num_ws, -1)
        w = self._draw_w(num, stream, step, 2)
        rng = self.compute.rng(self.config.seed, step, stream + len(KINDS))
        first = torch.randint(1, max(num_ws, 2), (num, 1), generator=rng, device=w.device)
        is_first = torch.arange(num_ws, device=w.device) < first  # (num, num_ws)
        return torch.where(is_first[..., None], w[:, :1], w[:, 1:])

    def _labels(self, w_plus: Tensor) -> Tensor:
        """F's labels of the images, [N, A] of 0 and 1."""
        return (self._scores(w_plus)[:, self._columns] > 0.5).float()

    @torch.no_grad()
    def _update_bias(self) -> None:
        """Convert the map of w - w_avg to a map of w: b = offset - A w_avg."""
        mean = self.generator.w_avg.expand(self.generator.num_ws, -1).flatten()
        self.linknet.bias.copy_(self._offset - self.linknet.weight @ mean)

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

    def _fit_directions(self, w: Tensor, scores: Tensor) -> Tensor:
        """The editor's directions [A, num_ws, w_dim]; all rows are equal."""
        directions = []
        for i in range(scores.shape[1]):
            boundary = fit_boundary(
                w.cpu(), scores[:, i].cpu(), ratio=self.config.ratio, solver="linear"
            )
            directions.append(boundary.normal.float() * float(boundary.spread or 1.0))
        return torch.stack(directions).expand(-1, self.generator.num_ws, -1).to(w)


def _quality(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Measures of logits against labels of 0 and 1, both [N, A]."""
    truth = labels > 0.5
    return {
        "agreement": float(((logits > 0) == truth).float().mean()),
        "majority": float(torch.maximum(labels.mean(0), 1 - labels.mean(0)).mean()),
        "balanced_accuracy": float(Confusion.of(logits > 0, truth).balanced_accuracy.nanmean()),
        "roc_auc": float(roc_auc(logits, truth).nanmean()),
        "bce": float(binary_cross_entropy_with_logits(logits, labels)),
    }
