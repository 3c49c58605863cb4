"""The data of a training as arrays: drawn or cropped once, and resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from invertory.ops.schemas import RETRIED
from invertory.pipelines.digests import digest
from invertory.pipelines.training.trainers import TRAINERS, Work
from invertory.resources.atomic import replacing_file
from invertory.resources.outages import patient

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Bar, Progress
    from invertory.pipelines.training.networks import Used
    from invertory.pipelines.training.sections import Images
    from invertory.pipelines.training.training import TrainingSpec
    from invertory.portraits.dataset import PortraitSet
    from invertory.resources.models import ModelStore
    from invertory.training.idinvert.pairs import Pairs

BLOCK = 64  # images; a killed run loses no more than these


def portraits(spec: TrainingSpec, models: ModelStore, progress: Progress) -> dict[str, PortraitSet]:
    """The sets by name; trainings that declare the same set share it."""
    from invertory.portraits import World
    from invertory.portraits.dataset import LOOK, prepare

    sets: dict[str, PortraitSet] = {}
    for one in (spec.data and spec.data.portraits) or ():
        mark = digest(LOOK, one.num, one.size_px, one.seed, one.world)[:12]
        folder = models.folder() / "data" / f"portraits-{one.size_px}px-{mark}"
        with progress.stage(f"draws {one.name}", one.num) as bar:
            sets[one.name] = prepare(
                folder,
                one.num,
                size_px=one.size_px,
                seed=one.seed,
                world=World(**one.world),
                processes=num_processes(spec.resources.processes),
                progress=following(bar),
            )
    return sets


def pairs(spec: TrainingSpec, generator: Any, models: ModelStore, progress: Progress) -> Pairs:
    """Samples of `generator` (on its device), shared like the portraits."""
    from invertory.training.idinvert.pairs import Draws, prepare_pairs

    how = spec.data.pairs if spec.data else None
    assert how is not None, spec.name
    weights = digest(generator.w_avg.float().cpu().numpy().tobytes().hex())
    mark = digest(how.num, how.size_px, how.draws, weights)[:12]
    folder = models.folder() / "data" / f"pairs-{how.size_px}px-{mark}"
    with progress.stage("draws pairs", how.num) as bar:
        return prepare_pairs(
            generator,
            folder,
            how.num,
            size_px=how.size_px,
            draws=Draws(**how.draws),
            progress=following(bar),
        )


def prepared(
    spec: TrainingSpec,
    work: Work,
    used: Mapping[str, Used],
    models: ModelStore,
    progress: Progress,
) -> Work:
    """The inputs with what the trainer's networks compute from its data, shared like the data."""
    trainer = TRAINERS[spec.trainer]
    if trainer.prepare is None:
        return work
    how = dataclasses.asdict(work.settings.inverting)
    data = spec.data.model_dump(mode="json", exclude_none=True) if spec.data else None
    networks = {kind: used[kind].sha256 for kind in trainer.needs}
    # the content of a folder may change
    own = [] if work.images is None else [hashlib.sha256(work.images.tobytes()).hexdigest()]
    mark = digest(how, work.settings.num, data, networks, work.compute.precision, *own)[:12]
    folder = models.folder() / "data" / f"{spec.trainer}-{mark}"
    with progress.stage("inverts in every space", work.settings.num) as bar:
        return trainer.prepare(work, folder, following(bar))


def images(how: Images, folder: Path, models: ModelStore, progress: Progress) -> np.ndarray:
    """Crops uint8 [N, size_px, size_px, 3] of the images listed when `folder` was begun.

    A file that is no image, or has no face where faces are sought, is left out and counted.
    """
    from invertory.pipelines.collections.collection import Collection

    whole = folder / "images.npy"
    if not whole.is_file():
        recipe: Any = SimpleNamespace(collection=how, alignment=how.alignment, limits=how.limits)
        source = Collection(recipe, models)
        uris = [entry.uri for entry in source.entries()]
        with contextlib.ExitStack() as stack:
            crop = _cropping(recipe, models, patient(source.read), stack)
            bar = stack.enter_context(progress.stage("crops images", len(uris)))
            parts = [
                _block(folder / f"images-{start:08d}.npy", uris[start : start + BLOCK], crop, bar)
                for start in range(0, len(uris), BLOCK)
            ]
        _join(parts, whole, how)
    found: np.ndarray = np.load(whole, mmap_mode="r")
    return found


def num_processes(wanted: int) -> int:
    """`wanted`; 0: one for each core that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def following(bar: Bar, start: int = 0) -> Callable[..., None]:
    """A callback (done, total, ...) that advances the bar, which begins at `start`."""
    before = start

    def shown(done: int, num: int, *_: Any) -> None:
        nonlocal before
        bar.advance(min(done, num) - before)
        before = min(done, num)

    return shown


def _cropping(
    recipe: Any, models: ModelStore, read: Callable[[str], bytes], stack: contextlib.ExitStack
) -> Callable[[list[str]], np.ndarray]:
    """A function from URIs to their crops, uint8 [N, H, W, 3], by the verbs of a recipe."""
    from invertory.images import decode
    from invertory.ops.ingest import Ingest
    from invertory.ops.schemas import ENTRIES
    from invertory.pipelines.networks.load import load_alignment

    ingest = Ingest(read, max_pixels=recipe.limits.max_pixels, min_px=recipe.limits.min_px)
    align = load_alignment(recipe, models, read, stack)
    px = recipe.alignment.size_px

    def crop(uris: list[str]) -> np.ndarray:
        rows = [{"uri": uri, "size_bytes": None, "modified": None} for uri in uris]
        found = ingest(pa.RecordBatch.from_pylist(rows, schema=ENTRIES))
        made = align(found.rows)
        _require_read(found.rows)
        _require_read(made.rejects)
        crops = made.rows.column("crop").to_pylist()
        pictures = [decode(one["bytes"]).pixels for one in crops]
        return np.stack(pictures) if pictures else np.zeros((0, px, px, 3), np.uint8)

    return crop


def _require_read(rows: pa.RecordBatch) -> None:
    """OSError where a file may be readable later, as its crop would be missing for good."""
    found = [row for row in rows.to_pylist() if row["status"] in RETRIED]
    if found:
        raise OSError(
            f"expected to read every image, got {len(found)} that could not be read "
            f"({found[0]['uri']}: {found[0]['error']}); allow it to be read, or leave it out by "
            "`pattern`, and run again"
        )


def _block(path: Path, uris: list[str], crop: Callable[[list[str]], np.ndarray], bar: Bar) -> Path:
    """One block's crops, computed unless an earlier run has done so."""
    num = 0
    if path.is_file():
        num = len(np.load(path, mmap_mode="r"))
    else:
        made = crop(uris)
        num = len(made)
        with replacing_file(path) as file:
            np.save(file, made)
    bar.advance(len(uris), max(len(uris) - num, 0))
    return path


def _join(parts: list[Path], whole: Path, how: Images) -> None:
    """Joins all blocks in one array, and removes them."""
    arrays = [np.load(path, mmap_mode="r") for path in parts]
    num = sum(map(len, arrays))
    if not num:
        raise ValueError(
            f"expected images in {', '.join(how.uris)}, got none that gives a crop; correct the "
            "address, or set alignment.kind to centre where there are no faces"
        )
    header = {"descr": "|u1", "fortran_order": False, "shape": (num, *arrays[0].shape[1:])}
    with replacing_file(whole) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.tobytes())
    for path in parts:
        path.unlink()
