"""Render latents to images and score them: shared by sampling, editing and augmentation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor, nn

from invertory.generators import Generator
from invertory.generators.state import NO_STATE, State, unpack
from invertory.images import Pixels, encode, to_uint8
from invertory.inversion import Method
from invertory.inversion.drawing import draw_latents
from invertory.ops.invert import resize
from invertory.ops.label import score_images
from invertory.scoring import BadScore, Scorer, Scores

ImageFormat = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a latent gave no scored image; `status` is one of STATUSES."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """An image uint8 [size_px, size_px, 3] and its scores by name."""

    pixels: Pixels
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Renders latents with the generator and scores the images, one batch in memory at a time.

    `preview` uses the generator's cheaper head if it has one: its images are good enough to score.
    `method` is the method that inverted the latents, with its networks; None means the latents are
    samples of the generator.
    """

    generator: Generator
    scorer: Scorer
    device: torch.device
    size_px: int
    batch_size: int = 8
    preview: bool = False
    image_format: ImageFormat = "png"
    method: Method | None = None
    networks: Mapping[str, nn.Module] = field(default_factory=dict)

    def render(
        self,
        latents: Tensor,
        states: Sequence[bytes | None] = (),
        origins: Tensor | None = None,
    ) -> Iterator[Rendered | Failure]:
        """latents [N, 1 or num_ws, w_dim] => N results, in order.

        `states` holds the packed state that the method stored with each latent, or None. If
        `latents` are edits, `origins` are the inverted latents they started from, in the same
        shape.
        """
        before = latents if origins is None else origins
        for i in range(0, len(latents), self.batch_size):
            rows = slice(i, i + self.batch_size)
            packed = [state for state in states[rows] if state is not None]
            state = unpack(packed) if packed else NO_STATE
            yield from self._scored(self._draw(latents[rows], before[rows], state))

    def stored(self, pixels: Pixels) -> dict[str, bytes | None]:
        """Return the cell of an image column."""
        data = encode(pixels, self.image_format)
        return {"bytes": data, "path": None}

    @torch.no_grad()
    def _draw(self, latents: Tensor, origins: Tensor, state: State) -> Tensor:
        """Latents and origins [n, 1 or num_ws, w_dim] => [n, 3, size_px, size_px] float32, CPU."""
        w_plus = self._w_plus(latents)
        if self.preview and not state:
            image = self.generator.preview(w_plus)
        else:
            image = draw_latents(
                self.method,
                self.generator,
                w_plus,
                {name: tensor.to(self.device) for name, tensor in state.items()},
                origin=self._w_plus(origins),
                networks=self.networks,
            )
        return resize(image.float().clamp(-1, 1), self.size_px).cpu()

    def _w_plus(self, latents: Tensor) -> Tensor:
        return latents.to(self.device, torch.float32).expand(-1, self.generator.num_ws, -1)

    def _scored(self, images: Tensor) -> Iterator[Rendered | Failure]:
        """Score [n, 3, size_px, size_px] in one call => n results, in order."""
        drawn = [to_uint8(p) if torch.isfinite(p).all() else None for p in images]
        finite = [pixels for pixels in drawn if pixels is not None]
        scores = iter(score_images([self.scorer], self.scorer.names, finite))
        for pixels in drawn:
            if pixels is None:
                yield Failure("non_finite", "the generated image is not finite")
                continue
            result = next(scores)
            if isinstance(result, BadScore):
                yield Failure("not_scored", result.reason)
            else:
                yield Rendered(pixels, result)


def read_latents(column: pa.Array) -> Tensor:
    """Copy a latent column to [N, rows, w_dim] float32."""
    rows, w_dim = column.type.list_size, column.type.value_type.list_size
    flat = column.flatten().flatten().to_numpy(zero_copy_only=False)
    return torch.tensor(flat.reshape(-1, rows, w_dim))


def read_states(batch: pa.RecordBatch) -> list[bytes | None]:
    """Return the states of the rows; an empty list if the table has no state column."""
    return batch.column("state").to_pylist() if "state" in batch.schema.names else []


def score_columns(scores: Scores) -> dict[str, Any]:
    """Scores by name => cells by column name."""
    return {f"score_{name}": value for name, value in scores.items()}
