"""MAGECally invert images for realistic editing, Grechka, Goudou and Cord, BMVC 2021.

https://hal.sorbonne-universite.fr/hal-03504190. W+ is optimised from the mean w under a pixel, a
perceptual, an identity and the MAGEC loss: what a LinkNet predicts from the latent must match what
the attribute net F predicts from the image, both before and after each edit of a differentiable
editor (Eq. 2, 3). No code was released. Ours differs in keeping the best iterate of the second
stage, in resetting Adam's moments there, and in computing all edits with one matrix (see
`LinkNet`), which gives the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
from torch.nn.functional import cosine_similarity

from invertory.inversion.engine.objective import Rows, Start, Tensors, Unconstrained
from invertory.inversion.engine.view import View, squared_error
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import Budget
from invertory.networks.linknet import Editor  # a field's type, which recipes are validated against

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.networks.classifier import AttributeClassifier
    from invertory.networks.linknet import LinkNet
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _MagecObjective(Unconstrained):
    """The objective of one stage (Eq. 3)."""

    method: Magec
    view: View
    linknet: LinkNet
    classifier: AttributeClassifier
    identity: nn.Module | None
    weights: Mapping[str, float]
    iterate: Literal["best", "last"]
    first_step: int  # steps of the previous stage: the rate's decay continues from there
    results: ClassVar[tuple[str, ...]] = ("w_plus",)

    def start(self, rows: Rows) -> Start:
        G, targets = self.view.generator, rows.targets
        constants = self.view.constants(targets) | {"labels": self._labels(targets)}
        if self.identity is not None:
            constants["identity"] = self.identity(self.view.resize(targets))
        return Start({"w_plus": G.w_avg.expand(len(targets), G.num_ws, G.w_dim)}, constants)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        method, w_plus = self.method, variables["w_plus"]
        synth = self.view.render(w_plus)
        labels = constants["labels"]
        terms = {
            "mse": squared_error(synth, constants),
            "perceptual": self.view.distance(synth, constants),
            "consistency": self.linknet.consistency(self.linknet(w_plus), labels),
            "edit_consistency": self.linknet.edit_consistency(
                w_plus, labels, step=method.edit_step, editor=method.editor
            ),
        }
        if self.identity is None:
            return terms
        # L_id = 1 - cos(R(x), R(G(w)))
        alike = cosine_similarity(self.identity(synth).flatten(1), constants["identity"].flatten(1))
        return terms | {"identity": 1 - alike}

    def learning_rate(self, step: Tensor) -> Tensor:
        method = self.method
        fallen = torch.div(step + self.first_step, method.decay_every, rounding_mode="floor")
        return method.learning_rate * method.decay ** fallen.double()

    def _labels(self, targets: Tensor) -> Tensor:
        """F's probabilities d = F(x) of the LinkNet's attributes, [n, A]."""
        scores = self.classifier.scores(targets)
        known = list(self.classifier.attributes)
        return scores[:, [known.index(name) for name in self.linknet.attributes]].float()


@dataclass(frozen=True, slots=True, kw_only=True)
class Magec(Budget):
    """Optimise semantics first, then pixels. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"

    steps: int = field(
        default=200, metadata={"description": "Adam steps per image, half of them in each stage"}
    )
    learning_rate: float = field(default=0.07, metadata={"description": "Adam's rate at the start"})
    decay: float = field(default=0.8, metadata={"description": "factor by which the rate falls"})
    decay_every: int = field(
        default=25, metadata={"description": "steps between two decays of the rate"}
    )
    semantic_mse_weight: float = field(
        default=1e-3, metadata={"description": "weight of the mean square in the first stage"}
    )
    mse_weight: float = field(
        default=0.5, metadata={"description": "weight of the mean square in the second stage"}
    )
    perceptual_weight: float = field(
        default=0.5, metadata={"description": "weight of the perceptual distance"}
    )
    magec_weight: float = field(
        default=3e-4, metadata={"description": "weight of both consistency terms; 0: the ablation"}
    )
    identity_weight: float = field(
        default=3e-4,
        metadata={
            "description": "weight of 1 - cosine, if an identity network is named",
            "applies": (("identity", "!=", ""),),
        },
    )
    edit_step: float = field(
        default=3.0,
        metadata={"description": "size of an edit, in standard deviations of the distance"},
    )
    editor: Editor = field(
        default="affine",
        metadata={"description": "each: one edit at a time, as printed; slower, same result"},
    )
    classifier: str = field(
        default="auto", metadata={"description": "address of the attribute network F"}
    )
    linknet: str = field(default="auto", metadata={"description": "address of the LinkNet"})
    identity: str = field(
        default="",
        metadata={"description": "address of an identity network; empty: no identity term"},
    )

    def __post_init__(self) -> None:
        if self.schedule != "constant":
            raise ValueError(
                f"expected schedule constant, got {self.schedule}: the rate of magec falls by "
                "`decay` every `decay_every` steps"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Kinds of the networks that the method receives."""
        return ("classifier", "linknet", *(("identity",) if self.identity else ()))

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms, in order."""
        return tuple(self._weights(self.mse_weight))

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`.

        `networks` holds `classifier`, `linknet` and, if named, `identity` (x => [N, D]). Raises
        `ValueError` if one is missing or they do not fit each other.
        """
        if missing := [kind for kind in self.needs if kind not in networks]:
            raise ValueError(
                f"expected networks {', '.join(self.needs)}, got none for {', '.join(missing)}; "
                "name their addresses, or train a LinkNet for this generator"
            )
        linknet = cast("LinkNet", networks["linknet"])
        classifier = cast("AttributeClassifier", networks["classifier"])
        _check(linknet, classifier, generator)
        view, half = self.view(generator, perceptual, targets), self.steps // 2
        first = _MagecObjective(
            replace(self, steps=half),
            view,
            linknet,
            classifier,
            networks["identity"] if self.identity else None,
            self._weights(self.semantic_mse_weight),
            "last",
            0,
        )
        first_outcome = first.method.engine().run(
            first, targets, seeds=seeds, batch_size=batch_size
        )
        second = replace(
            first,
            method=replace(self, steps=self.steps - half),
            weights=self._weights(self.mse_weight),
            iterate="best",
            first_step=half,
        )
        outcome = second.method.engine().run(
            second, targets, seeds=seeds, batch_size=batch_size, starts=first_outcome.results
        )
        inversion = outcome.inversion(self.space, outcome.results["w_plus"])
        return replace(
            inversion,
            steps=first_outcome.steps + inversion.steps,
            best_step=first_outcome.steps + inversion.best_step,
            is_finite=first_outcome.is_finite & inversion.is_finite,
        )

    def _weights(self, mse_weight: float) -> dict[str, float]:
        weights = {
            "mse": mse_weight,
            "perceptual": self.perceptual_weight,
            "consistency": self.magec_weight,
            "edit_consistency": self.magec_weight,
        }
        return weights | ({"identity": self.identity_weight} if self.identity else {})


def _check(linknet: LinkNet, classifier: AttributeClassifier, generator: Generator) -> None:
    """Raise ValueError if the three networks do not fit each other."""
    expected = (generator.num_ws, generator.w_dim)
    if (linknet.num_ws, linknet.w_dim) != expected:
        raise ValueError(
            f"expected a LinkNet for w_plus {list(expected)}, got one for "
            f"{[linknet.num_ws, linknet.w_dim]}; train it with this generator"
        )
    if missing := sorted(set(linknet.attributes) - set(classifier.attributes)):
        raise ValueError(
            f"expected a classifier of {', '.join(linknet.attributes)}, got one without "
            f"{', '.join(missing)}; name the classifier that the LinkNet was trained with"
        )
