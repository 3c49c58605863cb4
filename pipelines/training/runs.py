"""Run a training: fetch networks, prepare data, train or resume, publish the networks.

`invertory train` and the assets `models/<name>` both call `run_training`. Each run has its own
folder, named by the training and its key; after a kill the same call resumes there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invertory.pipelines.digests import digest
from invertory.pipelines.training.cards import kept, publish
from invertory.pipelines.training.data import following, images, pairs, portraits, prepared
from invertory.pipelines.training.networks import Used, at_hand
from invertory.pipelines.training.settings import settings_of
from invertory.pipelines.training.trainers import TRAINERS, Work
from invertory.resources.locks import holder, holding

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.pipelines.training.training import TrainingSpec
    from invertory.resources.gpu import Gpu, Lease
    from invertory.resources.models import ModelStore
    from invertory.training.loop.run import Training


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a run: the cards of its networks by name, and their folder."""

    training: str
    key: str
    folder: Path
    networks_folder: Path
    cards: dict[str, dict[str, Any]]
    is_up_to_date: bool
    elapsed_s: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)

    @property
    def sheet(self) -> Path | None:
        """The latest sheet, with real images above and generated ones below."""
        return max((self.folder / "sheets").glob("*.jpg"), default=None)

    def as_json(self) -> dict[str, Any]:
        """The result as JSON, for scripts."""
        return asdict(self) | {
            "folder": str(self.folder),
            "networks_folder": str(self.networks_folder),
            "sheet": str(self.sheet) if self.sheet else None,
        }


def run_training(
    spec: TrainingSpec,
    models: ModelStore,
    gpu: Gpu,
    progress: Progress,
    *,
    folder: Path | None = None,
) -> Trained:
    """Train the networks of `spec` as `trained://<name>`, unless they exist already.

    With `folder` everything stays in that folder, the networks in `networks/`, and `trained://`
    does not change. Raises WeightsError, before any work, where a network is unavailable.
    """
    began = time.monotonic()
    used = at_hand(spec, models, progress)
    key = key_of(spec, used)
    place = folder or models.folder() / "trainings" / f"{spec.name}-{key[:8]}"
    target = place / "networks" if folder else models.trained()
    with _alone(place):
        _claim(place, spec, key)
        cards = kept(target, spec, key)
        is_up_to_date, peaks = cards is not None, {}
        if cards is None:
            run = Run(spec, models, used, place, progress)
            data = run.prepared()  # before a device is leased, which it does not need
            with _device(spec, gpu).lease(waiting=progress.note) as lease:
                work = run.train(data, lease)
                cards = publish(spec, work, used, place, target, key)
            peaks = _peaks(lease)
    return Trained(
        training=spec.name,
        key=key,
        folder=place,
        networks_folder=target,
        cards=cards,
        is_up_to_date=is_up_to_date,
        elapsed_s=time.monotonic() - began,
        peaks=peaks,
    )


def key_of(spec: TrainingSpec, used: Mapping[str, Used]) -> str:
    """sha256 of everything the networks depend on: trainer, settings, data, other networks.

    A larger budget resumes the same run, unless the trainer's settings follow the budget.
    """
    from invertory.portraits.dataset import LOOK

    settings = asdict(settings_of(spec))
    data = spec.data.model_dump(mode="json", exclude_none=True) if spec.data else None
    networks = {kind: one.sha256 for kind, one in used.items()}
    return digest(spec.trainer, settings, data, LOOK if data else 0, networks)


@dataclass(frozen=True)
class Run:
    """One training with its resources."""

    spec: TrainingSpec
    models: ModelStore
    used: Mapping[str, Used]
    place: Path
    progress: Progress

    def prepared(self) -> dict[str, Any]:
        """The data that needs no network."""
        data = self.spec.data
        if data and data.portraits:
            return {"sets": portraits(self.spec, self.models, self.progress)}
        if data and data.images:
            folder = self.place / "data"
            return {"images": images(data.images, folder, self.models, self.progress)}
        return {}

    def train(self, data: dict[str, Any], lease: Lease) -> Work:
        """Train, or resume, to the end of the budget; returns the inputs."""
        from invertory.pipelines.networks.load import on
        from invertory.training.loop.train import train

        spec = self.spec
        networks = {k: on(one.load(self.models), lease.device) for k, one in self.used.items()}
        if spec.data and spec.data.pairs:
            drawn = pairs(spec, networks["generator"], self.models, self.progress)
            data = data | {"pairs": drawn}
        if "sets" not in data:
            plain = {"pairs": data["pairs"].images} if "pairs" in data else {}
            data["sets"] = plain | {name: data[name] for name in ("images",) if name in data}
        work = Work(
            settings=settings_of(spec), compute=_compute(spec, lease), networks=networks, **data
        )
        work = prepared(spec, work, self.used, self.models, self.progress)
        training = TRAINERS[spec.trainer].build(work)
        budget = spec.budget
        done = min(seen(self.place, training), budget.images)
        with self.progress.stage(f"trains {spec.name}", budget.images, start=done) as bar:
            train(
                training,
                self.place,
                images=budget.images,
                checkpoint_every=budget.checkpoint_every,
                evaluate_every=budget.evaluate_every,
                log_every=budget.log_every,
                progress=following(bar, done),
            )
        return work


def _compute(spec: TrainingSpec, lease: Lease) -> Any:
    from invertory.training.compute import Compute

    best = Compute.best(str(lease.device))
    wanted = spec.resources.precision
    return best if wanted == "auto" else replace(best, precision=wanted)


def seen(place: Path, training: Training) -> int:
    """Images that the run in `place` has seen, by its saved state."""
    import torch

    path = place / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return int(state["steps"]) * training.batch_size


def _device(spec: TrainingSpec, gpu: Gpu) -> Gpu:
    """The injected resource; where its device is auto, with that of the training."""
    device = spec.resources.device if gpu.device == "auto" else gpu.device
    return gpu.model_copy(update={"device": device})


def _peaks(lease: Lease) -> dict[str, float]:
    kind = "memory" if lease.device.type == "cpu" else "gpu_memory"
    return {f"peak_{kind}_mb": round(lease.peak_memory_bytes / 2**20, 1)}


def _claim(place: Path, spec: TrainingSpec, key: str) -> None:
    """Marks the folder as this run's; ValueError where it holds another run."""
    path = place / "training.json"
    marked = json.loads(path.read_text()) if path.is_file() else {"key": key}
    if marked["key"] != key:
        raise ValueError(
            f"expected {place} to hold the training {spec.name!r} as it is now, got a run of "
            f"{marked['training']!r} with other settings, data or networks (see {path}); name "
            "another folder"
        )
    declared = spec.model_dump(mode="json", exclude_none=True)
    text = json.dumps({"training": spec.name, "key": key, "asked": declared}, indent=2)
    fresh = path.with_name(".training.json")
    fresh.write_text(text + "\n")
    fresh.replace(path)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One run per folder at a time; the kernel frees the lock of a killed run."""
    place.mkdir(parents=True, exist_ok=True)
    lock = place / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(holding(lock, str(place), timeout_s=0))
        except TimeoutError:
            raise RuntimeError(
                f"expected no other run in {place}, got one of this training, held by "
                f"{holder(lock)}; wait for it, or name another folder"
            ) from None
        yield
