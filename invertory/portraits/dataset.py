"""A collection of portraits on disk: memory-mapped arrays, drawn in blocks, resumable.

Row i is the portrait of seed `row_seed(seed, i)`, independent of the number of rows, processes or
blocks, so that a set is a prefix of any longer one. The marker file of a block is written after its
rows are on disk.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from invertory.portraits.attributes import ATTRIBUTES
from invertory.portraits.draw import draw
from invertory.portraits.render import SIZES, check_whole, render
from invertory.portraits.streams import check_seed, row_seed
from invertory.portraits.world import World

LOOK: Final = 1  # version of the default world's images
BLOCK_ROWS: Final = 512
Job = tuple[Path, int, range, int, int, World]  # folder, block, its rows, size, seed, world
Progress = Callable[[int, int], None]  # portraits done, portraits in all


@dataclass(frozen=True, slots=True)
class PortraitSet:
    """Memory-mapped arrays with one row per portrait."""

    folder: Path
    images: npt.NDArray[np.uint8]  # [N, H, W, 3]
    segmentations: npt.NDArray[np.uint8]  # [N, H, W], indices into SEGMENTS
    landmarks: npt.NDArray[np.float32]  # [N, 68, 2] pixels (x, y)
    attributes: npt.NDArray[np.float32]  # [N, A] in the order of `names`
    names: tuple[str, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.images)

    def column(self, name: str) -> npt.NDArray[np.float32]:
        """One attribute of every row [N]."""
        return self.attributes[:, self.names.index(name)]

    def portrait_seed(self, row: int) -> int:
        """The seed that `draw` takes for this row."""
        return row_seed(self.seed, row)


def prepare(
    folder: str | Path,
    num: int,
    *,
    size_px: int = 64,
    seed: int = 0,
    world: World | None = None,
    processes: int = 1,
    progress: Progress = lambda done, num: None,
) -> PortraitSet:
    """Draw `num` portraits into the folder, or the missing ones, and open the set.

    Raises ValueError, without changing any file, if the folder holds another set. `progress` is
    called after each block with the number of finished portraits and the total.
    """
    check_whole("num", num, 1, 2**31)
    check_whole("size_px", size_px, *SIZES)
    check_whole("processes", processes, 1, 1024)
    world = world or World()
    recipe = _recipe(num, size_px, check_seed(seed), world)
    folder = Path(folder)
    _create_or_check(folder, recipe)
    todo = [b for b in range(-(-num // BLOCK_ROWS)) if not _marker(folder, b).exists()]
    spans = {b: range(b * BLOCK_ROWS, min((b + 1) * BLOCK_ROWS, num)) for b in todo}
    jobs = [(folder, block, rows, size_px, seed, world) for block, rows in spans.items()]
    done = num - sum(len(rows) for rows in spans.values())
    progress(done, num)
    for block in _drawn_blocks(jobs, processes):
        done += len(spans[block])
        progress(done, num)
    return open_set(folder)


def _drawn_blocks(jobs: list[Job], processes: int) -> Iterator[int]:
    """The numbers of finished blocks, in any order."""
    if processes == 1 or len(jobs) < 2:
        yield from map(_draw_block, jobs)
        return
    context = multiprocessing.get_context("spawn")  # safe with threads, and equal on all platforms
    with context.Pool(min(processes, len(jobs))) as pool:
        yield from pool.imap_unordered(_draw_block, jobs)


def open_set(folder: str | Path) -> PortraitSet:
    """Open a finished set, read-only.

    Raises FileNotFoundError if there is no set and ValueError if blocks are missing.
    """
    folder = Path(folder)
    try:
        recipe = json.loads((folder / "set.json").read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"expected a set of portraits in {folder}, got none") from error
    blocks = -(-recipe["num"] // BLOCK_ROWS)
    missing = [b for b in range(blocks) if not _marker(folder, b).exists()]
    if missing:
        raise ValueError(
            f"expected {blocks} finished blocks in {folder}, {len(missing)} are missing; "
            "call prepare again with the same arguments"
        )
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _shapes(1, 1)}
    images = arrays.pop("pictures")
    names = tuple(recipe["attributes"])
    return PortraitSet(folder=folder, images=images, names=names, seed=recipe["seed"], **arrays)


def _recipe(num: int, size_px: int, seed: int, world: World) -> dict[str, Any]:
    return {
        "look": LOOK,
        "num": num,
        "size_px": size_px,
        "seed": seed,
        "attributes": list(ATTRIBUTES),
        "world": json.loads(json.dumps(asdict(world))),
    }


def _shapes(num: int, size_px: int) -> dict[str, tuple[tuple[int, ...], type]]:
    return {
        "pictures": ((num, size_px, size_px, 3), np.uint8),
        "segmentations": ((num, size_px, size_px), np.uint8),
        "landmarks": ((num, 68, 2), np.float32),
        "attributes": ((num, len(ATTRIBUTES)), np.float32),
    }


def _create_or_check(folder: Path, recipe: dict[str, Any]) -> None:
    """Create the empty arrays, or check that existing ones belong to the same set."""
    path = folder / "set.json"
    if path.exists():
        stored = json.loads(path.read_text())
        if stored != recipe:
            differs = sorted(
                k for k in recipe.keys() | stored.keys() if stored.get(k) != recipe.get(k)
            )
            differences = "; ".join(
                f"{k}: {stored.get(k)!r} stored, {recipe.get(k)!r} requested" for k in differs
            )
            raise ValueError(
                f"expected an empty folder or the same set in {folder}, got {differences}; "
                "use another folder or delete this one"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in _shapes(recipe["num"], recipe["size_px"]).items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
    temporary = folder / "set.json.part"
    temporary.write_text(json.dumps(recipe, indent=1))
    temporary.replace(path)


def _draw_block(job: Job) -> int:
    folder, block, rows, size_px, seed, world = job
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _shapes(1, 1)}
    for row in rows:
        portrait = draw(row_seed(seed, row), world)
        rendering = render(portrait, size_px)
        maps["pictures"][row] = rendering.image
        maps["segmentations"][row] = rendering.segmentation
        maps["landmarks"][row] = rendering.landmarks
        maps["attributes"][row] = list(portrait.attributes.values())
    for array in maps.values():
        array.flush()
    _marker(folder, block).touch()
    return block


def _marker(folder: Path, block: int) -> Path:
    return folder / f"block-{block:05d}.done"
