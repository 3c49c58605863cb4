"""F-spaces of a generator: masked changes of a block's features in addition to the latent.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357. F<k> is the output of the block of r px, k = 2 (log2 r - 2): F2 is
8 px, F4 16 px, F6 32 px, F8 64 px, F10 128 px. An image is drawn from w_plus and, block by block,

    x <- x + m * delta        eq. 3.3 and 3.4; m [N, 1, r, r] in [0, 1], delta [N, C, r, r]

at the block's output, after the block has computed its own RGB from the unchanged features. The
paper resizes masks bilinearly and its code smooths them too, so m is soft at borders; the masks of
one row sum to 1 or less. A state holds m * delta as `delta.b16` and m as `mask.b16`, which edits
need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.deltas import LEVELS, changed_name, dequantise, quantise
from invertory.generators.stylegan2_layers import Hooks

if TYPE_CHECKING:
    from invertory.generators import Generator

W_PLUS = "W+"
DELTA, MASK = "delta.", "mask."  # prefixes of the block's name
FINEST_PX = 128  # size of the paper's F10
PAPER_PX = (16, 32, 64, 128)  # F4, F6, F8, F10
SPACES: Final = (W_PLUS, "F2", "F4", "F6", "F8", "F10")  # all spaces; a generator has some of them


def space_name(px: int) -> str:
    """Name of the F-space of the block of `px`, a power of two from 8."""
    return f"F{2 * (px.bit_length() - 3)}"


def f_spaces(generator: Generator) -> dict[str, tuple[str, tuple[int, int, int]]]:
    """F-space => its block and shape (C, r, r), coarse first; empty without hooks."""
    shapes: Mapping[str, tuple[int, int]] = getattr(generator, "feature_shapes", {})
    return {
        space_name(px): (block, (channels, px, px))
        for block, (channels, px) in shapes.items()
        if 8 <= px < generator.resolution and px <= FINEST_PX
    }


def default_spaces(generator: Generator) -> tuple[str, ...]:
    """W+ and the paper's F4, F6, F8 and F10 if the generator has them, plus F2 if those are few."""
    known = f_spaces(generator)
    paper = [name for name in map(space_name, PAPER_PX) if name in known]
    coarse = ["F2"] if len(paper) < 3 and "F2" in known else []
    return (W_PLUS, *coarse, *paper)


def resolve_spaces(generator: Generator, requested: Sequence[str]) -> tuple[str, ...]:
    """Return the requested spaces, the most editable first; by default `default_spaces`.

    Raises `ValueError` if the generator lacks one, or one is named twice.
    """
    if not requested:
        return default_spaces(generator)
    known = (W_PLUS, *f_spaces(generator))
    if (unknown := [name for name in requested if name not in known]) or len(set(requested)) < len(
        requested
    ):
        raise ValueError(
            f"expected spaces among {', '.join(known)}, each once, got "
            f"{', '.join(unknown or requested)}: a generator of {generator.resolution} px has no "
            "finer ones"
        )
    return tuple(name for name in known if name in requested)


@dataclass(frozen=True, slots=True)
class Features:
    """Changes of features for N rows by block; both mappings have the same blocks."""

    deltas: Mapping[str, Tensor]  # "b16" => m * delta [N, C, r, r]
    masks: Mapping[str, Tensor]  # "b16" => m [N, 1, r, r] in [0, 1]

    def stored(self) -> dict[str, Tensor]:
        """Convert to a state: 8 bits a value and a peak per channel (see `deltas`)."""
        named = {DELTA + block: delta for block, delta in self.deltas.items()}
        return quantise(named | {MASK + block: mask for block, mask in self.masks.items()})


def features_of(generator: Generator, state: Mapping[str, Tensor], num_rows: int) -> Features:
    """Decode and check the state of `num_rows` rows.

    Raises `ValueError` if the state has other entries or does not fit the generator.
    """
    rows = {name: tensor.to(generator.w_avg) for name, tensor in dequantise(state).items()}
    parts = {
        kind: {n.removeprefix(kind): t for n, t in rows.items() if n.startswith(kind)}
        for kind in (DELTA, MASK)
    }
    if not all(changed_name(name).startswith((DELTA, MASK)) for name in state):
        raise ValueError(
            f"expected only deltas and masks, got {', '.join(state)}: draw the state with the "
            "method that made it"
        )
    features = Features(parts[DELTA], parts[MASK])
    check_features(generator, features, num_rows)
    return features


def check_features(
    generator: Generator, features: Features, num_rows: int, *, needs_masks: bool = True
) -> None:
    """Check that deltas and masks belong to the generator's blocks, have their sizes, and match.

    Reading the masks waits for the device: check once before a loop, and draw with `hooks_of`
    inside. Without `needs_masks`, masks may be missing. Raises `ValueError` if something does not
    fit.
    """
    known = dict(f_spaces(generator).values())
    deltas, masks = features.deltas, features.masks
    is_paired = set(masks) == set(deltas) or not (needs_masks or masks)
    if not is_paired or not set(deltas) <= set(known):
        raise ValueError(
            f"expected deltas and masks of blocks among {', '.join(known) or 'none'}, got deltas "
            f"of {', '.join(deltas) or 'none'} and masks of {', '.join(masks) or 'none'}: draw "
            "them with the generator that they were made with"
        )
    for block, delta in deltas.items():
        _check_shape(DELTA + block, delta, (num_rows, *known[block]))
    check_masks(generator, masks, num_rows)


def check_masks(generator: Generator, masks: Mapping[str, Tensor], num_rows: int) -> None:
    """Check masks "b16" => [num_rows, 1, r, r]: known blocks, their sizes, values in [0, 1]."""
    known = dict(f_spaces(generator).values())
    if unknown := set(masks) - set(known):
        raise ValueError(
            f"expected masks of blocks among {', '.join(known) or 'none'}, got "
            f"{', '.join(sorted(unknown))}: choose spaces that the generator has"
        )
    for block, mask in masks.items():
        _check_shape(MASK + block, mask, (num_rows, 1, *known[block][1:]))
        if not bool(((mask >= 0) & (mask <= 1)).all()):
            raise ValueError(
                f"expected {MASK}{block} from 0 (W+) to 1 (the feature), got values from "
                f"{float(mask.min()):.3g} to {float(mask.max()):.3g}: scale it"
            )


def masks_of(generator: Generator, choice: Tensor, spaces: Sequence[str]) -> dict[str, Tensor]:
    """choice [N, H, W], an index into `spaces` per pixel => masks, "b16" => [N, 1, r, r].

    Masks are resized bilinearly with antialiasing and rounded to the levels that a state stores.
    """
    if choice.dim() != 3 or choice.min() < 0 or choice.max() >= len(spaces):
        raise ValueError(
            f"expected a choice [N, H, W] from 0 to {len(spaces) - 1}, got {list(choice.shape)} "
            f"from {int(choice.min())} to {int(choice.max())}"
        )
    known, masks = f_spaces(generator), {}
    for index, name in enumerate(spaces):
        if name != W_PLUS:
            block, (_, *size) = known[name]
            is_here = (choice == index).to(torch.float32)[:, None]
            mask = interpolate(is_here, size=size, mode="bilinear", antialias=True)
            masks[block] = (mask * LEVELS).round().clamp(0, LEVELS) / LEVELS
    return masks


def hooks_of(features: Features) -> Hooks:
    """eq. 3.3: build the hooks that add the changes of features."""
    return Hooks(after_block={b: partial(_add, delta) for b, delta in features.deltas.items()})


def synthesise_with(generator: Generator, w_plus: Tensor, features: Features) -> Tensor:
    """w_plus [N, num_ws, w_dim] => images [N, 3, R, R]; differentiable in the features.

    Masks may be missing, because the deltas already contain them. In a loop, see `check_features`.
    """
    check_features(generator, features, len(w_plus), needs_masks=False)
    return _synthesise(generator, w_plus, hooks_of(features))


class Hooked(Protocol):
    """A generator whose pass to named layers takes hooks."""

    def features(
        self, w_plus: Tensor, names: tuple[str, ...], *, hooks: Hooks
    ) -> dict[str, Tensor]: ...


@dataclass(slots=True)
class RecordedFeatures:
    """Features of an inversion's latent at each F layer before its delta, by block."""

    features: dict[str, Tensor] = field(default_factory=dict)  # [N, C, r, r]
    # [N, 3, r, r], of the skip connections
    images: dict[str, Tensor] = field(default_factory=dict)


def record_features(generator: Generator, origin: Tensor, features: Features) -> RecordedFeatures:
    """Run one pass at `origin` [N, num_ws, w_dim], up to the finest F layer."""
    recorded = RecordedFeatures()
    if not features.deltas:
        return recorded
    hooks = Hooks(
        after_block={
            b: partial(_record_and_add, recorded, b, d) for b, d in features.deltas.items()
        },
        after_rgb={b: partial(_record_image, recorded, b) for b in features.deltas},
    )
    finest = max(features.deltas, key=lambda block: features.deltas[block].shape[-1])
    cast("Hooked", generator).features(origin, (finest,), hooks=hooks)
    return recorded


def synthesise_layer_aware(
    generator: Generator,
    w_plus: Tensor,
    features: Features,
    origin: Tensor,
    *,
    keep_rgb: bool,
    before: RecordedFeatures | None = None,
) -> Tensor:
    """Section 3.4: w_plus [N, num_ws, w_dim], edited from `origin` => images [N, 3, R, R].

    Inside a mask the feature of `origin` is kept, and the edit acts only on later layers; outside
    it acts on all layers. With `keep_rgb` the same holds for the image of the skip connections, so
    that no layer below shows the edit there; the published code keeps only features. `before` saves
    the pass at `origin` (see `record_features`), which is also skipped if nothing is edited.
    """
    check_features(generator, features, len(w_plus))
    if torch.equal(w_plus, origin):
        return _synthesise(generator, w_plus, hooks_of(features))
    recorded = before or record_features(generator, origin, features)
    blocks = {b: partial(_keep_inside, recorded.features[b], m) for b, m in features.masks.items()}
    deltas = {b: _compose(blocks[b], partial(_add, d)) for b, d in features.deltas.items()}
    rgb: dict[str, Callable[[Tensor], Tensor]] = {}
    if keep_rgb:
        rgb = {
            b: partial(_keep_inside, recorded.images[b], features.masks[b]) for b in recorded.images
        }
    return _synthesise(generator, w_plus, Hooks(after_block=deltas, after_rgb=rgb))


def _synthesise(generator: Generator, w_plus: Tensor, hooks: Hooks) -> Tensor:
    """Call plain synthesis if there are no hooks: not every generator accepts them."""
    extra: dict[str, Any] = {"hooks": hooks} if hooks.after_block else {}
    return generator.synthesis(w_plus, **extra)


def _add(delta: Tensor, x: Tensor) -> Tensor:
    return x + delta.to(x.dtype)


def _keep_inside(old: Tensor, mask: Tensor, new: Tensor) -> Tensor:
    """Keep the old values inside the mask and take the new ones outside."""
    return torch.lerp(new, old, mask.to(new.dtype))


def _compose(
    first: Callable[[Tensor], Tensor], then: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda x: then(first(x))


def _record_and_add(recorded: RecordedFeatures, block: str, delta: Tensor, x: Tensor) -> Tensor:
    recorded.features[block] = x
    return _add(delta, x)


def _record_image(recorded: RecordedFeatures, block: str, image: Tensor) -> Tensor:
    recorded.images[block] = image
    return image


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"expected {name} {list(shape)}, got {list(tensor.shape)}: resize it to the block's "
            "size"
        )
