"""F-spaces of a generator: changes of a block's features, inside a mask, beside the latent.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357. F<k> is the output of the block of r px, k = 2 (log2 r - 2): F2 is
8 px, F4 16 px, F6 32 px, F8 64 px, F10 128 px. A picture is drawn from w_plus and, block by block,

    x <- x + m * delta        eq. 3.3 and 3.4; m [N, 1, r, r] in [0, 1], delta [N, C, r, r]

at the block's output, its own RGB being made from what came in. The paper's masks are bilinear to
each size and its code's are smoothed too, so m is soft at borders; masks of one row sum to 1 or
less. A state holds m * delta as `delta.b16` and m as `mask.b16`, which edits need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.deltas import LEVELS, changed, coded, decoded
from invertory.generators.stylegan2_layers import Hooks

if TYPE_CHECKING:
    from invertory.generators import Generator

W_PLUS = "W+"
DELTA, MASK = "delta.", "mask."  # and the block's name
FINEST_PX = 128  # of the paper's F10
PAPER_PX = (16, 32, 64, 128)  # F4, F6, F8, F10
SPACES: Final = (W_PLUS, "F2", "F4", "F6", "F8", "F10")  # of which a generator has some


def space_name(px: int) -> str:
    """Name of the F-space of the block of `px`, a power of two from 8."""
    return f"F{2 * (px.bit_length() - 3)}"


def f_spaces(generator: Generator) -> dict[str, tuple[str, tuple[int, int, int]]]:
    """F-space => its block and shape (C, r, r), coarse first; none where there are no hooks."""
    shapes: Mapping[str, tuple[int, int]] = getattr(generator, "feature_shapes", {})
    return {
        space_name(px): (block, (channels, px, px))
        for block, (channels, px) in shapes.items()
        if 8 <= px < generator.resolution and px <= FINEST_PX
    }


def default_spaces(generator: Generator) -> tuple[str, ...]:
    """W+ and the paper's F4, F6, F8 and F10, as far as there are; F2 where those are few."""
    known = f_spaces(generator)
    paper = [name for name in map(space_name, PAPER_PX) if name in known]
    coarse = ["F2"] if len(paper) < 3 and "F2" in known else []
    return (W_PLUS, *coarse, *paper)


def checked_spaces(generator: Generator, wanted: Sequence[str]) -> tuple[str, ...]:
    """The spaces wanted, the most editable first, or the default ones where none is named."""
    if not wanted:
        return default_spaces(generator)
    known = (W_PLUS, *f_spaces(generator))
    if (unknown := [name for name in wanted if name not in known]) or len(set(wanted)) < len(
        wanted
    ):
        raise ValueError(
            f"expected spaces among {', '.join(known)}, each once, got "
            f"{', '.join(unknown or wanted)}: a generator of {generator.resolution} px has no finer"
        )
    return tuple(name for name in known if name in wanted)


@dataclass(frozen=True, slots=True)
class Features:
    """Changes of features for N rows, by block; both of the same blocks."""

    deltas: Mapping[str, Tensor]  # "b16" => m * delta [N, C, r, r]
    masks: Mapping[str, Tensor]  # "b16" => m [N, 1, r, r] in [0, 1]

    def stored(self) -> dict[str, Tensor]:
        """As a state: 8 bits a value and a peak a channel (see `deltas`); zeros compress well."""
        named = {DELTA + block: delta for block, delta in self.deltas.items()}
        return coded(named | {MASK + block: mask for block, mask in self.masks.items()})


def features_of(generator: Generator, state: Mapping[str, Tensor], num_rows: int) -> Features:
    """The state of `num_rows` rows, in whatever form, decoded and checked."""
    rows = {name: tensor.to(generator.w_avg) for name, tensor in decoded(state).items()}
    parts = {
        kind: {n.removeprefix(kind): t for n, t in rows.items() if n.startswith(kind)}
        for kind in (DELTA, MASK)
    }
    if not all(changed(name).startswith((DELTA, MASK)) for name in state):
        raise ValueError(
            f"expected deltas and masks alone, got {', '.join(state)}: draw the state with the "
            "method that made it"
        )
    features = Features(parts[DELTA], parts[MASK])
    check_features(generator, features, num_rows)
    return features


def check_features(
    generator: Generator, features: Features, num_rows: int, *, needs_masks: bool = True
) -> None:
    """Deltas and masks: of the generator's blocks, the same ones, their size, masks in [0, 1].

    A look at the masks waits for the device: once before a loop, which then draws by `hooks_of`.
    Without `needs_masks` there may be none.
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
    """Masks "b16" => [num_rows, 1, r, r]: of blocks that there are, their size, in [0, 1]."""
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
    """choice [N, H, W]: an index into `spaces` for each pixel => masks, "b16" => [N, 1, r, r].

    Bilinear with antialiasing, rounded to the levels that a state stores.
    """
    if choice.dim() != 3 or choice.min() < 0 or choice.max() >= len(spaces):
        raise ValueError(
            f"expected a choice [N, H, W] from 0 to {len(spaces) - 1}, got {list(choice.shape)} "
            f"from {int(choice.min())} to {int(choice.max())}"
        )
    known, found = f_spaces(generator), {}
    for index, name in enumerate(spaces):
        if name != W_PLUS:
            block, (_, *size) = known[name]
            is_here = (choice == index).to(torch.float32)[:, None]
            mask = interpolate(is_here, size=size, mode="bilinear", antialias=True)
            found[block] = (mask * LEVELS).round().clamp(0, LEVELS) / LEVELS
    return found


def hooks_of(features: Features) -> Hooks:
    """eq. 3.3: what draws the features."""
    return Hooks(after_block={b: partial(_added, delta) for b, delta in features.deltas.items()})


def synthesised_with(generator: Generator, w_plus: Tensor, features: Features) -> Tensor:
    """w_plus [N, num_ws, w_dim] => pictures [N, 3, R, R]; differentiable in the features.

    Masks, which are in the deltas already, may be left out; see `check_features` on loops.
    """
    check_features(generator, features, len(w_plus), needs_masks=False)
    return _called(generator, w_plus, hooks_of(features))


class Hooked(Protocol):
    """A generator whose pass to named layers takes hooks."""

    def features(
        self, w_plus: Tensor, names: tuple[str, ...], *, hooks: Hooks
    ) -> dict[str, Tensor]: ...


@dataclass(slots=True)
class Recorded:
    """What the latent of an inversion gave at each F layer, before its delta; by block."""

    features: dict[str, Tensor] = field(default_factory=dict)  # [N, C, r, r]
    pictures: dict[str, Tensor] = field(default_factory=dict)  # [N, 3, r, r], of skip connections


def recorded(generator: Generator, origin: Tensor, features: Features) -> Recorded:
    """One pass at `origin` [N, num_ws, w_dim], up to the finest F layer."""
    seen = Recorded()
    if not features.deltas:
        return seen
    hooks = Hooks(
        after_block={b: partial(_noted, seen, b, d) for b, d in features.deltas.items()},
        after_rgb={b: partial(_note_picture, seen, b) for b in features.deltas},
    )
    finest = max(features.deltas, key=lambda block: features.deltas[block].shape[-1])
    cast("Hooked", generator).features(origin, (finest,), hooks=hooks)
    return seen


def layer_aware(
    generator: Generator,
    w_plus: Tensor,
    features: Features,
    origin: Tensor,
    *,
    keep_rgb: bool,
    before: Recorded | None = None,
) -> Tensor:
    """Section 3.4: w_plus [N, num_ws, w_dim], edited from `origin` => pictures [N, 3, R, R].

    Inside a mask the feature that `origin` gave is kept, and the edit acts on later layers alone;
    outside it acts on all. With `keep_rgb` the same goes for the skip connections' picture, so that
    no layer below sees the edit there; the published code keeps features only. `before` spares the
    pass at `origin` (see `recorded`), which is also spared where nothing is edited.
    """
    check_features(generator, features, len(w_plus))
    if torch.equal(w_plus, origin):
        return _called(generator, w_plus, hooks_of(features))
    seen = before or recorded(generator, origin, features)
    blocks = {b: partial(_kept, seen.features[b], m) for b, m in features.masks.items()}
    deltas = {b: _followed(blocks[b], partial(_added, d)) for b, d in features.deltas.items()}
    rgb: dict[str, Callable[[Tensor], Tensor]] = {}
    if keep_rgb:
        rgb = {b: partial(_kept, seen.pictures[b], features.masks[b]) for b in seen.pictures}
    return _called(generator, w_plus, Hooks(after_block=deltas, after_rgb=rgb))


def _called(generator: Generator, w_plus: Tensor, hooks: Hooks) -> Tensor:
    """Plain synthesis where there is nothing to hook: not every generator takes hooks."""
    extra: dict[str, Any] = {"hooks": hooks} if hooks.after_block else {}
    return generator.synthesis(w_plus, **extra)


def _added(delta: Tensor, x: Tensor) -> Tensor:
    return x + delta.to(x.dtype)


def _kept(old: Tensor, mask: Tensor, new: Tensor) -> Tensor:
    """The old inside the mask, the new outside."""
    return torch.lerp(new, old, mask.to(new.dtype))


def _followed(
    first: Callable[[Tensor], Tensor], then: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda x: then(first(x))


def _noted(seen: Recorded, block: str, delta: Tensor, x: Tensor) -> Tensor:
    seen.features[block] = x
    return _added(delta, x)


def _note_picture(seen: Recorded, block: str, picture: Tensor) -> Tensor:
    seen.pictures[block] = picture
    return picture


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"expected {name} {list(shape)}, got {list(tensor.shape)}: bring it to the block's size"
        )
