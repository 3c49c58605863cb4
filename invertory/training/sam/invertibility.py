"""Trains the invertibility predictor of Parmar et al. 2022 (`invertory.networks.invertibility`).

Eq. 3.2: the squared difference from the error maps of inversions in each space (see errors.py).
Only a few hundred images can be inverted in minutes on one core, so the backbone optionally starts
from a face parser, and images are mirrored, moved and recoloured. AdamW with a cosine schedule and
an average of the weights replace the paper's SGD over 100 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.networks.invertibility import InvertibilityPredictor
from invertory.training.compute import Compute, TrainingImages, batch_rows
from invertory.training.data.portrait_augmentation import Augmentation
from invertory.training.data.portrait_batches import images_of
from invertory.training.optimiser import AveragedNetwork, seeded
from invertory.training.sam.errors import InversionSettings, interleaved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from invertory.networks.face_parser import FaceParser
    from invertory.portraits.dataset import PortraitSet

SHEET_COLUMNS: Final = 12
PATCHES: Final = 8  # patches per side, to compute the unit
_STEPS = 1  # random stream of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertibilitySettings:
    """Settings of a training."""

    images: int = 24_000  # images over which the learning rate decays to 0
    batch_size: int = 32
    num: int = 400  # images that are inverted in every space
    held_out: int = 56  # the last of these
    shares: tuple[float, ...] = (1.0,)  # shares of the sets
    rarely: float = 0.1  # share of patches of plain images with an error in W+ above the unit
    inverting: InversionSettings = field(default_factory=InversionSettings)
    learning_rate: float = 2e-3
    warm_up: float = 0.03  # share of `images` over which the rate increases
    weight_decay: float = 0.05
    half_life_images: float = 1_500  # half-life of the average of weights
    widths: tuple[int, ...] = (32, 64, 96, 128)  # those of the parser, if there is one
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < self.num:
            raise ValueError(
                f"expected held_out from 1 to num - 1 ({self.num - 1}), got {self.held_out}"
            )


@dataclass(frozen=True, slots=True)
class InvertedImages:
    """Images and the error maps of their inversions."""

    images: np.ndarray  # uint8 [N, H, W, 3]
    errors: np.ndarray  # float16 [N, S, h, h]
    spaces: tuple[str, ...]
    is_plain: np.ndarray  # bool [N]: in the generator's domain


def pick_images(
    sets: Mapping[str, PortraitSet | np.ndarray], shares: Sequence[float], num: int
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [num, H, W, 3] from the sets, mixed by share, and bool [num]: is from the first set."""
    arrays = [images_of(one) for one in sets.values()]
    rows = interleaved([len(array) for array in arrays], shares or (1.0,) * len(arrays), num)
    is_first = np.array([own == 0 for own, _ in rows])
    return np.stack([arrays[own][row] for own, row in rows]), is_first


class InvertibilityTraining:
    """`Training` of an `InvertibilityPredictor`; see `invertory.training.loop.run`."""

    name = "invertibility"

    def __init__(
        self,
        inverted: InvertedImages,
        config: InvertibilitySettings,
        compute: Compute,
        parser: FaceParser | None = None,
    ) -> None:
        _check(inverted, config)
        self.config, self._compute, self._spaces = config, compute, inverted.spaces
        self._images = TrainingImages(inverted.images, compute)
        self._errors = inverted.errors
        self._trained = len(inverted.errors) - config.held_out
        network = seeded(self._build_network, config.seed)
        for i, mean in enumerate(self._means()):  # inverse softplus: start at the mean error
            bias = network.get_parameter(f"heads.{i}.3.bias")
            bias.data.fill_(float(np.log(np.expm1(max(mean, 1e-3)))))
        if parser is not None:
            network.start_from(parser)
        network.unit.fill_(self._unit(inverted))
        self._supervised = AveragedNetwork(network, config, compute)

    def _build_network(self) -> InvertibilityPredictor:
        sizes: dict[str, Any] = {
            "size_px": self._errors.shape[-1],
            "widths": self.config.widths,
        }
        return InvertibilityPredictor(spaces=self._spaces, **sizes)

    def _means(self) -> list[float]:
        means = np.asarray(self._errors[: self._trained], np.float32).mean((0, 2, 3))
        return [float(mean) for mean in means]

    def _unit(self, inverted: InvertedImages) -> float:
        """The mean error per patch that plain images rarely exceed in the first space."""
        is_plain = inverted.is_plain[: self._trained]
        errors = np.asarray(self._errors[: self._trained][is_plain, :1], np.float32)
        side = max(errors.shape[-1] // PATCHES, 1)
        patches = functional.avg_pool2d(torch.from_numpy(errors), side)
        return float(np.quantile(patches.numpy(), 1 - self.config.rarely))

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch."""
        settings = self.config
        rows = batch_rows(self._trained, self.batch_size, seed=settings.seed, step=step)
        rng = self._compute.rng(settings.seed, step, _STEPS)
        changes = settings.augmentation.draw(self.batch_size, rng)
        images = changes.images(self._images[rows], rng)
        errors = changes.maps(self._truth(rows))
        with self._compute.autocast():
            predicted = self._supervised.network(images)
        loss = (predicted - errors).square().mean()  # eq. 3.2
        self._supervised.descend(loss, step)
        return {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measures on held-out rows, per space and for all spaces.

        Correlation over pixels, correlation of image means, mean absolute error, and the mean
        absolute error of predicting the mean of the training rows.
        """
        rows = self._held_out_rows()
        truth, predicted = self._truth(rows), self._predict(rows)
        metrics: dict[str, float] = {}
        for i, space in enumerate(self._spaces):
            metrics |= {f"{space}/{k}": v for k, v in measure(predicted[:, i], truth[:, i]).items()}
            mean = self._means()[i]
            metrics[f"{space}/mae_of_mean"] = float((truth[:, i] - mean).abs().mean())
        unit = float(self._supervised.average.unit)
        return measure(predicted, truth) | {"unit": unit} | metrics

    def sheet(self) -> Tensor | None:
        """Held-out images; below, per space, true and predicted errors.

        White is the 99th percentile of the first space.
        """
        rows = self._held_out_rows()[:SHEET_COLUMNS]
        truth, predicted = self._truth(rows), self._predict(rows)
        white = truth[:, 0].flatten().quantile(0.99)
        px = truth.shape[-1]
        images = functional.interpolate(self._images[rows], size=(px, px), mode="area")
        maps = [m[:, i : i + 1] for i in range(truth.shape[1]) for m in (truth, predicted)]
        greys = [(m / white).clamp(0, 1).mul(2).sub(1).expand(-1, 3, -1, -1) for m in maps]
        strips = [torch.cat(list(strip), 2) for strip in (images, *greys)]
        return torch.cat(strips, 1)

    def state_dict(self) -> dict[str, Any]:
        return self._supervised.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._supervised.load_state_dict(state)

    def networks(self) -> dict[str, nn.Module]:
        return {"invertibility": self._supervised.average}

    def _held_out_rows(self) -> Tensor:
        return torch.arange(self._trained, len(self._errors))

    def _truth(self, rows: Tensor) -> Tensor:
        """True errors [N, S, h, h], float32 on the device."""
        errors = np.asarray(self._errors[rows.numpy()], np.float32)
        return torch.from_numpy(errors).to(self._compute.device)

    @torch.no_grad()
    def _predict(self, rows: Tensor) -> Tensor:
        with self._compute.autocast():
            predictions = [
                self._supervised.average(self._images[chunk]) for chunk in torch.split(rows, 64)
            ]
        return torch.cat(predictions).float()


def measure(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """Maps [N, ..., h, h] => correlation of pixels, of map means, and mean absolute error."""
    means = [x.mean((-2, -1)).flatten() for x in (predicted, truth)]
    return {
        "correlation": _correlation(predicted.flatten(), truth.flatten()),
        "correlation_of_means": _correlation(*means),
        "mae": float((predicted - truth).abs().mean()),
    }


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))


def _check(inverted: InvertedImages, settings: InvertibilitySettings) -> None:
    n = len(inverted.errors)
    if n != len(inverted.images) or inverted.errors.shape[1] != len(inverted.spaces):
        raise ValueError(
            f"expected errors [{len(inverted.images)}, {len(inverted.spaces)}, h, h] of the "
            f"images, got {list(inverted.errors.shape)}: invert the same images"
        )
    if not inverted.is_plain[: n - settings.held_out].any():
        raise ValueError(
            "expected plain images among those trained on, got none: put a set of the generator's "
            "domain first"
        )
    if n <= settings.held_out:
        raise ValueError(
            f"expected more than {settings.held_out} images (held_out), got {n}: invert more"
        )
