"""Run a training: networks and data at hand, trained or gone on with, published under its names.

`invertory train` and the assets `models/<name>` call `run_training` and nothing else. A run has a
folder of its own, whose name says what it was asked for; the same call goes on in it after a kill.
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
    """What came of a run: the cards of its networks by name, and where they lie."""

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
        """The latest samples, real above and made below."""
        return max((self.folder / "sheets").glob("*.jpg"), default=None)

    def as_json(self) -> dict[str, Any]:
        """What a script is told."""
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
    """The networks that `spec` gives, as `trained://<name>`, made unless they are there.

    With `folder` everything stays in it, the networks in its `networks`, and `trained://` does not
    change. Raises WeightsError where a network that it uses is unavailable, before any work.
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
    """sha256 of all that decides what comes of it: trainer, settings, data, other networks.

    A larger budget goes on with the same run, unless the trainer's settings follow the budget.
    """
    from invertory.portraits.dataset import LOOK

    settings = asdict(settings_of(spec))
    data = spec.data.model_dump(mode="json", exclude_none=True) if spec.data else None
    networks = {kind: one.sha256 for kind, one in used.items()}
    return digest(spec.trainer, settings, data, LOOK if data else 0, networks)


@dataclass(frozen=True)
class Run:
    """One training with the world it works in."""

    spec: TrainingSpec
    models: ModelStore
    used: Mapping[str, Used]
    place: Path
    progress: Progress

    def prepared(self) -> dict[str, Any]:
        """Data that no network has to draw."""
        data = self.spec.data
        if data and data.portraits:
            return {"sets": portraits(self.spec, self.models, self.progress)}
        if data and data.images:
            folder = self.place / "data"
            return {"images": images(data.images, folder, self.models, self.progress)}
        return {}

    def train(self, data: dict[str, Any], lease: Lease) -> Work:
        """To the end of the budget, or on to it; gives what was trained on."""
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
    """Images that the run in `place` has been shown, as its state says."""
    import torch

    path = place / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return int(state["steps"]) * training.batch_size


def _device(spec: TrainingSpec, gpu: Gpu) -> Gpu:
    """The injected resource with, where it is free, the training's device."""
    device = spec.resources.device if gpu.device == "auto" else gpu.device
    return gpu.model_copy(update={"device": device})


def _peaks(lease: Lease) -> dict[str, float]:
    kind = "memory" if lease.device.type == "cpu" else "gpu_memory"
    return {f"peak_{kind}_mb": round(lease.peak_memory_bytes / 2**20, 1)}


def _claim(place: Path, spec: TrainingSpec, key: str) -> None:
    """The folder is this run's, or refused where it holds another's."""
    path = place / "training.json"
    told = json.loads(path.read_text()) if path.is_file() else {"key": key}
    if told["key"] != key:
        raise ValueError(
            f"expected {place} to be of the training {spec.name!r} as it now is, got a run of "
            f"{told['training']!r} that was asked for otherwise (see {path}); name another folder"
        )
    asked = spec.model_dump(mode="json", exclude_none=True)
    text = json.dumps({"training": spec.name, "key": key, "asked": asked}, indent=2)
    fresh = path.with_name(".training.json")
    fresh.write_text(text + "\n")
    fresh.replace(path)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One run a folder at a time; the kernel frees the lock of a killed one."""
    place.mkdir(parents=True, exist_ok=True)
    lock = place / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(holding(lock, str(place), timeout_s=0))
        except TimeoutError:
            raise RuntimeError(
                f"expected nobody at work in {place}, got another run of this training, held by "
                f"{holder(lock)}; wait for it, or name another folder"
            ) from None
        yield
