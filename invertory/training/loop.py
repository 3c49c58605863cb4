"""Runs a training: resumable after a kill, logged, with sample sheets, networks at the end.

    from invertory.training.loop import train
    folder = train(StyleGAN2Training(config, pictures), Path("out"), images=300_000)

In the folder: `state.pt` (replaced atomically; a second call goes on from it and reaches, on a
deterministic device, the very weights of an undisturbed run), `log.jsonl` (losses, mean since the
line before; metrics), `sheets/<images>.jpg` (real above, made below), and with every evaluation
`<network>.safetensors` with its `<network>.json` (architecture, images, settings, metrics).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from invertory.images import encode, to_uint8
from invertory.training.results import architecture_name, plain, replace_file, write_network

Progress = Callable[[int, int, Mapping[str, float]], None]  # images seen, of, losses or metrics


class Training(Protocol):
    """One method's trainer: its networks, optimisers and averages, and one step of them."""

    @property
    def name(self) -> str:
        """Of the method: stylegan2, attribute_classifier, ..."""
        ...

    @property
    def config(self) -> Any:
        """The settings: a frozen dataclass of plain values. A run may go on only with the same."""
        ...

    @property
    def batch_size(self) -> int: ...

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step; all randomness from generators of (seed, step).

        Returns scalar losses, left on the device: reading one each step would stall a GPU.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out data; must not change what later steps do."""
        ...

    def sheet(self) -> Tensor | None:
        """[3, H, W] in [-1, 1]: real above, made below; None where there is nothing to see."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def networks(self) -> dict[str, nn.Module]:
        """What is to be kept, by name; each of a class of `ARCHITECTURES`, with a `config`."""
        ...


class NonFiniteError(RuntimeError):
    """A loss or a weight is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often, in images."""

    log: int
    checkpoint: int
    evaluate: int


@dataclass(slots=True)
class _Run:
    """One call of `train`."""

    training: Training
    folder: Path
    images: int
    cadence: Cadence
    progress: Progress
    steps: int = 0  # done
    seconds: float = 0.0  # of training, over all calls
    # losses since the last line: sum and count, for some come only every few steps
    sums: dict[str, tuple[Tensor | float, int]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        return self.steps * self.training.batch_size

    @property
    def total_steps(self) -> int:
        return math.ceil(self.images / self.training.batch_size)

    def is_due(self, every: int) -> bool:
        """Whether the step just done crossed a multiple of `every` images, or was the last."""
        before = self.seen - self.training.batch_size
        return self.seen // every > before // every or self.steps >= self.total_steps


def silent(images: int, total: int, values: Mapping[str, float]) -> None:
    """The progress callback that shows nothing."""


def train(
    training: Training,
    folder: Path,
    *,
    images: int,
    checkpoint_every: int = 10_000,
    evaluate_every: int = 20_000,
    log_every: int = 2_000,
    progress: Progress = silent,
) -> Path:
    """Train until `images` pictures have been seen (rounded up to batches); returns `folder`.

    The cadences are in images. `progress` is called at each line of the log.
    """
    for network in training.networks().values():
        architecture_name(network)  # an unknown class fails now, not after an hour
    cadence = Cadence(log=log_every, checkpoint=checkpoint_every, evaluate=evaluate_every)
    run = _Run(training, folder, images, cadence, progress)
    (folder / "sheets").mkdir(parents=True, exist_ok=True)
    _resume(run)
    start, before = time.perf_counter(), run.seconds
    while run.steps < run.total_steps:
        _add(run, training.step(run.steps))
        run.steps += 1
        run.seconds = before + time.perf_counter() - start
        _keep(run)
    return folder


def _add(run: _Run, losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        total, num = run.sums.get(name, (0.0, 0))
        run.sums[name] = (total + loss.detach(), num + 1)


def _keep(run: _Run) -> None:
    """What is due after a step. A checkpoint flushes the log, so that no sums need be stored."""
    is_saving, is_measuring = run.is_due(run.cadence.checkpoint), run.is_due(run.cadence.evaluate)
    if is_saving or is_measuring or run.is_due(run.cadence.log):
        _log_losses(run)
    if is_measuring:
        _measure(run)
    if is_saving:
        _save(run)


def _log_losses(run: _Run) -> None:
    """The only place where the device is waited for."""
    means = {name: float(total) / num for name, (total, num) in run.sums.items()}
    run.sums.clear()
    bad = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise _non_finite(run, ", ".join(bad))
    speed = run.seen / run.seconds if run.seconds else 0.0
    _write_line(run, {"images": run.seen, "seconds": round(run.seconds, 1), **means})
    run.progress(run.seen, run.images, {**means, "images_per_s": speed})


def _measure(run: _Run) -> None:
    for name, network in run.training.networks().items():
        _check_finite(run, {name: network.state_dict()})  # before a good file is replaced
    run.metrics = run.training.evaluate()
    _write_line(run, {"images": run.seen, "metrics": run.metrics})
    run.progress(run.seen, run.images, run.metrics)
    sheet = run.training.sheet()
    if sheet is not None:
        path = run.folder / "sheets" / f"{run.seen:09d}.jpg"
        replace_file(path, encode(to_uint8(sheet), "jpeg"))
    for name, network in run.training.networks().items():
        write_network(run.folder / name, network, _facts(run))


def _facts(run: _Run) -> dict[str, Any]:
    return {
        "training": run.training.name,
        "settings": plain(run.training.config),
        "images_seen": run.seen,
        "seconds": round(run.seconds, 1),
        "metrics": run.metrics,
    }


def _write_line(run: _Run, line: Mapping[str, Any]) -> None:
    with (run.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def _save(run: _Run) -> None:
    state = run.training.state_dict()
    _check_finite(run, state)
    stored = {
        "name": run.training.name,
        "config": plain(run.training.config),
        "steps": run.steps,
        "seconds": run.seconds,
        "metrics": run.metrics,
        "training": state,
    }
    temporary = run.folder / ".state.pt"
    with temporary.open("wb") as file:
        torch.save(stored, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(run.folder / "state.pt")


def _check_finite(run: _Run, state: Mapping[str, Any]) -> None:
    bad = [name for name, tensor in _floats(state, "") if not torch.isfinite(tensor).all()]
    if bad:
        raise _non_finite(run, f"no finite {bad[0]}")


def _floats(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """Every float tensor within, with the way to it."""
    if isinstance(value, Tensor):
        return [(name, value)] if value.is_floating_point() else []
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    items = value.items() if isinstance(value, Mapping) else ()
    return [found for key, item in items for found in _floats(item, f"{name}/{key}")]


def _resume(run: _Run) -> None:
    path = run.folder / "state.pt"
    if not path.is_file():
        (run.folder / "log.jsonl").unlink(missing_ok=True)  # of a run killed before its first state
        return
    stored = torch.load(path, map_location="cpu", weights_only=True)
    given = {"name": run.training.name, "config": plain(run.training.config)}
    for key, value in given.items():
        if stored[key] != value:
            raise ValueError(
                f"expected in {path} a training of the {key} {value}, got {stored[key]}: "
                "give the same settings, or another folder"
            )
    run.training.load_state_dict(stored["training"])
    run.steps, run.seconds, run.metrics = stored["steps"], stored["seconds"], stored["metrics"]
    _truncate_log(run)


def _truncate_log(run: _Run) -> None:
    """Lines of steps that the state does not hold would come twice; half a line is none."""
    path = run.folder / "log.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["images"] <= run.seen]
    replace_file(path, "".join(f"{line}\n" for line in kept).encode())


def _non_finite(run: _Run, what: str) -> NonFiniteError:
    path = run.folder / "state.pt"
    kept = f"{path} keeps the last good state" if path.is_file() else "no state was kept yet"
    return NonFiniteError(
        f"expected finite losses and weights, got {what} near image {run.seen}; {kept}. "
        "Lower the learning rate or use float32, and train into another folder"
    )
