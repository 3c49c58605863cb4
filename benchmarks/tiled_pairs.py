"""The generator and encoder of the tiling benchmarks: by address, or the best available pair."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from invertory.editing.tiling import TiledPair
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from torch import nn

    from invertory.encoders import Encoder
    from invertory.generators import Generator

# (generator, encoder, tiles): patches as in the paper, then networks of whole faces
KNOWN = (
    ("portraits_patches_generator", "portraits_patches_encoder", 4),
    ("portraits_invgan_generator", "portraits_invgan_encoder", 1),
    ("portraits_generator", "portraits_domain_guided_encoder", 1),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pair of networks with its metadata."""

    pair: TiledPair
    metadata: dict[str, str | int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generator", default="", help="address (the best available pair)")
    parser.add_argument("--encoder", default="", help="address of its encoder")
    parser.add_argument(
        "--tiles", type=int, default=0, help="tiles per side (4 for patches, else 1)"
    )
    parser.add_argument(
        "--overlap", type=int, default=0, help="overlap of neighbouring tiles in px (0)"
    )


def chosen_pair(args: argparse.Namespace, models: ModelStore) -> Chosen:
    """The requested pair, else the first of `KNOWN` that is bundled or was trained here."""
    generator, encoder, tiles = _addresses(args, models)
    networks = [network(address, models) for address in (generator, encoder)]
    pair = TiledPair.of(
        cast("Encoder", networks[1]),
        cast("Generator", networks[0]),
        tiles=args.tiles or tiles,
        overlap_px=args.overlap,
    )
    grid = pair.grid
    metadata: dict[str, str | int] = {"generator": generator, "encoder": encoder}
    metadata |= {"tiles": grid.tiles, "tile_px": grid.tile_px, "overlap_px": grid.overlap_px}
    return Chosen(pair, metadata)


def network(address: str, models: ModelStore) -> nn.Module:
    """The frozen network at `address`, a card or a file, on the CPU."""
    weights, card = fetch_network(address, models)
    return load_network(weights, card=card)


def _addresses(args: argparse.Namespace, models: ModelStore) -> tuple[str, str, int]:
    if args.generator and args.encoder:
        return args.generator, args.encoder, 1
    if args.generator or args.encoder:
        raise SystemExit("expected both --generator and --encoder, or neither")
    sources = {card.name: card.source for card in models.cards()}
    for generator, encoder, tiles in KNOWN:
        if generator in sources and encoder in sources:
            return sources[generator], sources[encoder], tiles
    names = ", ".join(generator for generator, _, _ in KNOWN)
    raise SystemExit(f"expected one of the generators {names} with its encoder, got none")
