"""SAMM aligns the generator's features to an image and masks what they cannot reach.

Out-of-domain GAN Inversion via Invertibility Decomposition for Photo-Realistic Human Face
Manipulation, Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262. At several sizes of the
synthesis, a module compares the generator's features with the encoder's and predicts how to warp
the former (flow) and where no warp helps (mask). The masks are combined into one, which blends the
input over the synthesised image.

Where the paper and the code compute different results, `preset` chooses:

    code    from the second cycle on, the mask is composed with that of the previous cycle
    paper   line 6 of algorithm 1 as printed, which keeps the mask of the first cycle

In both, the mask of a coarser level is composed into the finer one's, and flows restart at each
level. We differ from the code: the warped features replace the generator's directly, after the
modulated convolution (theirs are added as noise, divided by its weight); a zero flow is the
identity (theirs shrinks the content by half a pixel); the smoothing kernel of flows and masks does
not shift them; masks are resized by pixel centres; noise is constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from invertory.checkpoints.network import CheckpointedNetwork
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import Hooks
from invertory.networks.samm.layers import Level, Preset, blend, gather

if TYPE_CHECKING:
    from invertory.generators import Generator

NUM_LEVELS: Final = 4
Alignment = Literal["full", "none"]
HookedGenerator = StyleGAN2 | MobileStyleGAN  # generators with `after_conv`, see Hooks


@runtime_checkable
class TappedEncoder(Protocol):
    """An encoder that also returns intermediate maps."""

    resolution: int
    num_ws: int
    w_dim: int

    @property
    def tap_channels(self) -> dict[int, int]:
        """Size of each map in px => channels."""
        ...

    def tapped(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """x [N, 3, H, H] => w_plus [N, num_ws, w_dim] and maps [N, C, r, r] by size in px."""
        ...


@dataclass(slots=True)
class Aligned:
    """The results of one synthesis; lists are by level, coarse to fine."""

    synth: Tensor  # [N, 3, R, R], from warped features, before blending
    masks: list[Tensor] = field(default_factory=list)  # [N, 1, r, r] in [0, 1], 1: out of domain
    flows: list[Tensor] = field(default_factory=list)  # [N, 2, r, r], see layers.py
    steps: list[Tensor] = field(default_factory=list)  # [cycles, N, 2, r, r], summands of the flows

    def mask(self) -> Tensor:
        """[N, 1, R, R]: the combined mask of all levels."""
        return gather(tuple(self.masks), self.synth.shape[-1])


class Samm(CheckpointedNetwork):
    """The modules of all levels, for one generator and one encoder."""

    def __init__(
        self,
        *,
        sizes_px: Sequence[int],
        encoder_channels: Sequence[int],
        generator_channels: Sequence[int],
        resolution: int,
        num_ws: int,
        w_dim: int,
        cycles: int = 2,
        alignment: Alignment = "full",
        preset: Preset = "code",
        narrowing: int = 2,
    ) -> None:
        """Levels are coarse to fine, with the channels of both networks.

        `resolution`, `num_ws` and `w_dim` are the generator's. `cycles` is the default number of
        cycles N. `alignment` "none" trains and runs without warps. Raises ValueError for
        inconsistent levels.
        """
        super().__init__()
        sides = (sizes_px, encoder_channels, generator_channels)
        if not sizes_px or len({len(side) for side in sides}) > 1 or cycles < 1:
            raise ValueError(
                "expected levels with channels of both networks and 1 cycle or more, got "
                f"{[list(side) for side in sides]} and {cycles}"
            )
        if alignment not in ("full", "none") or preset not in ("paper", "code"):
            raise ValueError(
                f"expected alignment full or none and preset paper or code, got {alignment!r} and "
                f"{preset!r}"
            )
        self.sizes_px = tuple(sizes_px)
        self.encoder_channels = tuple(encoder_channels)
        self.generator_channels = tuple(generator_channels)
        self.resolution, self.num_ws, self.w_dim = resolution, num_ws, w_dim
        self.cycles, self.alignment, self.narrowing = cycles, alignment, narrowing
        self.preset = preset
        self.levels = nn.ModuleList(
            Level(px, (inputs, outputs), w_dim, preset=preset, narrowing=narrowing)
            for px, inputs, outputs in zip(*sides, strict=True)
        )

    @classmethod
    def between(
        cls, encoder: TappedEncoder, generator: Generator, *, num: int = NUM_LEVELS, **settings: Any
    ) -> Samm:
        """An untrained network at the `num` finest sizes that both networks have.

        With a generator of 1024 px and an encoder of 256 px these are the paper's, 32 to 256 px.
        """
        inputs, outputs = encoder.tap_channels, level_channels(generator)
        sizes_px = sorted(set(inputs) & set(outputs))[-num:]
        return cls(
            sizes_px=sizes_px,
            encoder_channels=[inputs[px] for px in sizes_px],
            generator_channels=[outputs[px] for px in sizes_px],
            resolution=generator.resolution,
            num_ws=generator.num_ws,
            w_dim=generator.w_dim,
            **settings,
        )

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-serialisable."""
        plain = ("resolution", "num_ws", "w_dim", "cycles", "alignment", "preset", "narrowing")
        lists = ("sizes_px", "encoder_channels", "generator_channels")
        return {name: list(getattr(self, name)) for name in lists} | {
            name: getattr(self, name) for name in plain
        }

    def check(self, encoder: TappedEncoder, generator: Generator) -> None:
        """Raises ValueError unless generator and encoder have the shapes it was built for."""
        channels = level_channels(generator)
        expected_channels = dict(zip(self.sizes_px, self.generator_channels, strict=True))
        expected = (self.resolution, self.num_ws, self.w_dim)
        sizes = (generator.resolution, generator.num_ws, generator.w_dim)
        if expected != sizes or any(
            channels.get(px) != num for px, num in expected_channels.items()
        ):
            raise ValueError(
                f"expected a generator of {expected[0]} px with latents {list(expected[1:])} and "
                f"features {expected_channels} (px: channels), got {sizes[0]} px, "
                f"{list(sizes[1:])} and {channels}: name the samm network that was trained for "
                "this generator"
            )
        expected_taps = dict(zip(self.sizes_px, self.encoder_channels, strict=True))
        taps = getattr(encoder, "tap_channels", {})
        if any(taps.get(px) != num for px, num in expected_taps.items()):
            raise ValueError(
                f"expected an encoder with maps {expected_taps} (px: channels), got "
                f"{taps or 'none'}: name the encoder that this samm network was trained with"
            )

    def align(
        self,
        generator: HookedGenerator,
        w_plus: Tensor,
        taps: Mapping[int, Tensor],
        *,
        cycles: int | None = None,
        is_skipped: bool = False,
        num_levels: int | None = None,
        size_px: int | None = None,
    ) -> Aligned:
        """w_plus [N, num_ws, w_dim] and the encoder's maps => the aligned synthesis.

        `is_skipped` computes masks without warping. `num_levels` limits alignment to the coarsest
        levels. `size_px` is the size of the generator's preview, which replaces the full image.
        """
        aligned = Aligned(w_plus)
        options = {
            "cycles": cycles or self.cycles,
            "is_warping": self.alignment == "full" and not is_skipped,
        }
        levels = list(zip(self.sizes_px, self.levels, strict=True))[:num_levels]
        hooks = Hooks(
            after_conv={
                f"b{px}.conv0": partial(
                    _align_level, aligned, cast("Level", level), taps[px], options
                )
                for px, level in levels
            }
        )
        aligned.synth = synthesise_at(generator, w_plus, size_px or generator.resolution, hooks)
        return aligned

    def forward(self, generator: HookedGenerator, encoder: TappedEncoder, images: Tensor) -> Tensor:
        """Images [N, 3, H, H] => their inversions, aligned and blended.

        H is the size of the generator or of one of its previews.
        """
        w_plus, taps = encoder.tapped(images)
        w_plus, size_px = w_plus.expand(-1, self.num_ws, -1), images.shape[-1]
        aligned = self.align(generator, w_plus, taps, size_px=size_px)
        return blend(images, aligned.synth, aligned.mask())


def synthesise_at(
    generator: HookedGenerator, w_plus: Tensor, size_px: int, hooks: Hooks | None = None
) -> Tensor:
    """The full image [N, 3, R, R], or its preview of `size_px`."""
    if size_px == generator.resolution:
        whole: Tensor = generator.synthesis(w_plus, hooks=hooks)
        return whole
    return generator.preview(w_plus, size_px, hooks=hooks)


def _align_level(
    aligned: Aligned, level: Level, tap: Tensor, options: Mapping[str, Any], g: Tensor, w: Tensor
) -> Tensor:
    """The hook of a level: record its alignment and return the features that replace g."""
    coarser = aligned.masks[-1] if aligned.masks else None
    g, mask, flow, steps = level(g, w, tap, coarser, **options)
    aligned.masks.append(mask)
    aligned.flows.append(flow)
    aligned.steps.append(steps)
    return g


def level_channels(generator: Generator) -> dict[int, int]:
    """Size in px => channels after the first convolution of its block, from 8 px on.

    Raises ValueError if the generator has no hooks after its convolutions.
    """
    if not isinstance(generator, HookedGenerator):
        raise ValueError(
            "expected a generator with hooks after its convolutions, a stylegan2 or a "
            f"mobile_stylegan, got {type(generator).__name__}: use one of these, or a method that "
            "changes latents only"
        )
    return {px: channels for channels, px in generator.feature_shapes.values() if px > 4}
