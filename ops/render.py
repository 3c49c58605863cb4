"""Latents to pictures with their scores: what sampling, editing and augmentation share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from invertory.generators import Generator
from invertory.images import Pixels, encode, to_uint8
from invertory.scoring import BadScore, Scorer, Scores
from ops.invert import resize
from ops.label import score_picture

PictureFormat = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a latent gave no scored picture; `status` is a word of STATUSES."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture uint8 [size_px, size_px, 3] and its scores by name."""

    pixels: Pixels
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Draws latents with the generator and scores what it drew, a batch in memory at a time.

    `preview` draws by the generator's cheaper head where it has one: good enough to score by.
    """

    generator: Generator
    scorer: Scorer
    device: torch.device
    size_px: int
    batch_size: int = 8
    preview: bool = False
    picture_format: PictureFormat = "png"
    picture_quality: int = 95

    def render(self, latents: Tensor) -> Iterator[Rendered | Failure]:
        """latents [N, 1 or num_ws, w_dim] => N results, in order."""
        for part in torch.split(latents, self.batch_size):
            yield from (self._score(picture) for picture in self._draw(part))

    def stored(self, pixels: Pixels) -> dict[str, bytes | None]:
        """The cell of a PICTURE column."""
        data = encode(pixels, self.picture_format, quality=self.picture_quality)
        return {"bytes": data, "path": None}

    @torch.no_grad()
    def _draw(self, latents: Tensor) -> Tensor:
        """[n, 1 or num_ws, w_dim] => [n, 3, size_px, size_px] float32 on the CPU."""
        w_plus = latents.to(self.device, torch.float32).expand(-1, self.generator.num_ws, -1)
        draw = self.generator.preview if self.preview else self.generator.synthesis
        return resize(draw(w_plus).float().clamp(-1, 1), self.size_px).cpu()

    def _score(self, picture: Tensor) -> Rendered | Failure:
        if not torch.isfinite(picture).all():
            return Failure("non_finite", "the generator's picture is not finite")
        pixels = to_uint8(picture)
        scores = score_picture([self.scorer], self.scorer.names, pixels)
        if isinstance(scores, BadScore):
            return Failure("not_scored", scores.reason)
        return Rendered(pixels, scores)


def read_latents(column: pa.Array) -> Tensor:
    """A latent column => [N, rows, w_dim] float32; a copy."""
    rows, w_dim = column.type.list_size, column.type.value_type.list_size
    flat = column.flatten().flatten().to_numpy(zero_copy_only=False)
    return torch.tensor(flat.reshape(-1, rows, w_dim))


def score_columns(scores: Scores) -> dict[str, Any]:
    """Scores by name => cells by column."""
    return {f"score_{name}": value for name, value in scores.items()}
