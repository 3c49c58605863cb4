"""In-Domain GAN Inversion for Real Image Editing, Zhu, Shen, Zhao and Zhou 2020.

https://arxiv.org/abs/2004.00049. An encoder gives the start. W+ is then optimised under a pixel, a
perceptual and a domain loss; the domain loss is the distance between the latent and the encoder's
code of its image (eq. 4). The paper and the published code differ, and `preset` chooses:

    code    means of squares; the last iterate is the result
    paper   sums of squares as printed, so the domain loss weighs less at higher resolutions (here
            divided by the number of pixel values, to which Adam is invariant); the best iterate
            is the result, eq. 4's argmin

The perceptual distance is the one passed in (usually LPIPS); its weight is not the paper's 5e-5,
which belongs to features of a Caffe VGG16. With `preview`, the losses and the encoder see the
generator's preview head in place of its full image.

With a mask, only the pixels inside it are compared, which is how `diffuse` does semantic diffusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.inversion.engine.objective import Rows, Start, Tensors, Unconstrained
from invertory.inversion.engine.view import View
from invertory.inversion.feed_forward import encode_w_plus, encoder_of
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import Budget

if TYPE_CHECKING:
    from torch import nn

    from invertory.encoders import Encoder
    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _InDomainObjective(Unconstrained):
    """Eq. 4. The row's optional input `mask` is 1 where the target counts."""

    method: InDomain
    view: View
    encoder: Encoder
    results: ClassVar[tuple[str, ...]] = ("w_plus",)

    @property
    def iterate(self) -> Literal["best", "last"]:
        return "last" if self.method.preset == "code" else "best"

    @property
    def weights(self) -> Mapping[str, float]:
        method, G = self.method, self.view.generator
        is_mean = method.preset == "code"
        num_values = 1.0 if is_mean else G.num_ws * G.w_dim / (3 * self.view.size_px**2)
        weights = (method.mse_weight, method.perceptual_weight, method.domain_weight * num_values)
        return dict(zip(method.terms, weights, strict=False))

    def start(self, rows: Rows) -> Start:
        variables = {"w_plus": encode_w_plus(self.encoder, rows.targets, self.view.generator)}
        if "mask" not in rows.inputs:
            return Start(variables, self.view.constants(rows.targets))
        px = self.view.size_px
        mask = interpolate(rows.inputs["mask"], size=(px, px), mode="area")
        target = self.view.resize(rows.targets) * mask
        return Start(variables, self.view.constants(target) | {"mask": mask})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = variables["w_plus"]
        synth = self.view.render(w_plus)
        visible = synth * constants["mask"] if "mask" in constants else synth
        terms = self.view.compare(visible, constants)
        if self.method.domain_weight:
            code = self.encoder(synth)
            # eq. 4: lambda_dom * |w - E(G(w))|^2, as a mean
            terms["domain"] = (w_plus - code).square().mean((1, 2))
        return terms

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class InDomain(Budget):
    """Encode, then optimise with domain regularisation; deterministic, so seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ("encoder",)

    preset: Literal["paper", "code"] = field(
        default="code",
        metadata={"description": "code: means, last iterate; paper: sums as printed, best iterate"},
    )
    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
    steps: int = field(
        default=100, metadata={"description": "Adam steps per image; 1000 for the paper's table"}
    )
    mse_weight: float = field(
        default=1.0, metadata={"description": "weight of the squares on [-1, 1]"}
    )
    perceptual_weight: float = field(
        default=1.0, metadata={"description": "weight of the perceptual distance (lambda_vgg)"}
    )
    domain_weight: float = field(
        default=2.0,
        metadata={
            "description": "weight of |w - E(G(w))|^2 (lambda_dom); 0: encoder start "
            "only; the ablation: 40"
        },
    )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms; the domain loss is computed only if its weight is not 0."""
        return ("mse", "perceptual", *(("domain",) if self.domain_weight else ()))

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
        mask: Tensor | None = None,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`.

        `mask` [N or 1, 1, H, H] is 1 where the image counts and 0 where it does not; without a mask
        every pixel counts. The encoder's start sees the whole image. Raises `ValueError` if the
        mask does not fit.
        """
        objective = _InDomainObjective(
            self, self.view(generator, perceptual, targets), encoder_of(networks, generator)
        )
        inputs = {} if mask is None else {"mask": _expand_mask(mask, targets)}
        outcome = self.engine().run(
            objective, targets, seeds=seeds, batch_size=batch_size, inputs=inputs
        )
        return outcome.inversion(self.space, outcome.results["w_plus"])


def diffuse(
    method: InDomain,
    generator: Generator,
    targets: Tensor,
    contexts: Tensor,
    mask: Tensor,
    *,
    seeds: Sequence[int],
    perceptual: Perceptual,
    batch_size: int,
    networks: Mapping[str, nn.Module],
) -> Inversion:
    """Semantic diffusion (section 3.4): carry `targets` inside the mask into `contexts`.

    Targets are pasted onto contexts, both [N, 3, H, H]. The code of the pasted image is the start,
    and only the pixels inside `mask` [N or 1, 1, H, H] are optimised. As in the published code, the
    domain loss is off. Raises `ValueError` if the shapes differ.
    """
    if targets.shape != contexts.shape:
        raise ValueError(
            f"expected targets and contexts of one shape, got {list(targets.shape)} and "
            f"{list(contexts.shape)}: resize one to the other"
        )
    pasted = torch.lerp(contexts, targets, _expand_mask(mask, targets))
    return replace(method, domain_weight=0.0).invert(
        generator,
        pasted,
        seeds=seeds,
        perceptual=perceptual,
        batch_size=batch_size,
        networks=networks,
        mask=mask,
    )


def _expand_mask(mask: Tensor, targets: Tensor) -> Tensor:
    """Expand the mask to every target, [N, 1, H, H]."""
    n, _, height, width = targets.shape
    is_range = bool(((mask >= 0) & (mask <= 1)).all())
    if mask.dim() != 4 or mask.shape[1:] != (1, height, width) or len(mask) not in (1, n):
        raise ValueError(
            f"expected a mask [{n} or 1, 1, {height}, {width}], got {list(mask.shape)}"
        )
    if not is_range:
        raise ValueError("expected a mask from 0 (ignored) to 1, got values outside: scale it")
    return mask.to(targets).expand(n, -1, -1, -1)
