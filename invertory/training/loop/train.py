"""Runs a training: resumable, logged, with sample sheets, and networks as results.

    from invertory.training.loop.train import train
    folder = train(StyleGAN2Training(pixels, config, Compute.best()), Path("out"), images=300_000)

The folder contains `state.pt` (replaced atomically; a second call resumes from it and, on a
deterministic device, reaches exactly the weights of an uninterrupted run), `log.jsonl` (losses,
averaged since the previous line; metrics), `sheets/<images>.jpg` (real above, synthesised below),
and with every evaluation `<network>.safetensors` with its card `<network>.json` (architecture,
images, settings, metrics).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from invertory.images import encode, to_uint8
from invertory.training.loop.results import architecture_name, plain, replace_file, write_network
from invertory.training.loop.resume import NonFiniteError, check_finite, non_finite, resume, save
from invertory.training.loop.run import Cadence, Progress, Run, Training

__all__ = ["NonFiniteError", "train"]


def silent(images: int, total: int, values: Mapping[str, float]) -> None:
    """A progress callback that does nothing."""


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
    """Train until `images` images have been seen (rounded up to batches); return `folder`.

    Intervals are in images. `progress` is called with each line of the log. Raises ValueError if
    the folder holds another training, and NonFiniteError if training diverges.
    """
    for network in training.networks().values():
        architecture_name(network)  # fail early for unknown classes
    cadence = Cadence(log=log_every, checkpoint=checkpoint_every, evaluate=evaluate_every)
    run = Run(training, folder, images, cadence, progress)
    (folder / "sheets").mkdir(parents=True, exist_ok=True)
    resume(run)
    if run.steps and run.is_due(run.cadence.evaluate) and not _is_measured(run):
        _measure(run)  # the previous run stopped between saving and measuring
    start, before = time.perf_counter(), run.seconds
    while run.steps < run.total_steps:
        _add(run, training.step(run.steps))
        run.steps += 1
        run.seconds = before + time.perf_counter() - start
        _keep(run)
    return folder


def _add(run: Run, losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        total, num = run.sums.get(name, (0.0, 0))
        run.sums[name] = (total + loss.detach(), num + 1)


def _keep(run: Run) -> None:
    """Log, save and measure what is due after a step.

    A checkpoint flushes the log, so that loss sums need not be stored. The state is saved before it
    is measured: if measuring fails, a later call starts with it.
    """
    is_saving, is_measuring = run.is_due(run.cadence.checkpoint), run.is_due(run.cadence.evaluate)
    if is_saving or is_measuring or run.is_due(run.cadence.log):
        _log_losses(run)
    if is_saving or is_measuring:
        save(run)
    if is_measuring:
        _measure(run)


def _log_losses(run: Run) -> None:
    """Log mean losses; the only place that synchronises with the device."""
    means = {name: float(total) / num for name, (total, num) in run.sums.items()}
    run.sums.clear()
    bad = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise non_finite(run, ", ".join(bad))
    speed = run.seen / run.seconds if run.seconds else 0.0
    _write_line(run, {"images": run.seen, "seconds": round(run.seconds, 1), **means})
    run.progress(run.seen, run.images, {**means, "images_per_s": speed})


def _measure(run: Run) -> None:
    """Write metrics, sheet and networks; the log line comes last and marks them as complete."""
    for name, network in run.training.networks().items():
        check_finite(run, {name: network.state_dict()})  # before a good file is replaced
    run.metrics = run.training.evaluate()
    sheet = run.training.sheet()
    if sheet is not None:
        path = run.folder / "sheets" / f"{run.seen:09d}.jpg"
        replace_file(path, encode(to_uint8(sheet), "jpeg"))
    for name, network in run.training.networks().items():
        write_network(run.folder / name, network, _facts(run))
    _write_line(run, {"images": run.seen, "metrics": run.metrics})
    run.progress(run.seen, run.images, run.metrics)


def _is_measured(run: Run) -> bool:
    """Whether the log contains the metrics of the current step."""
    path = run.folder / "log.jsonl"
    lines = map(json.loads, path.read_text().splitlines() if path.is_file() else [])
    return any("metrics" in line and line["images"] == run.seen for line in lines)


def _facts(run: Run) -> dict[str, Any]:
    return {
        "training": run.training.name,
        "settings": plain(run.training.config),
        "images_seen": run.seen,
        "seconds": round(run.seconds, 1),
        "metrics": run.metrics,
    }


def _write_line(run: Run, line: Mapping[str, Any]) -> None:
    with (run.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
