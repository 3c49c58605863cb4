"""Runs a training: resumable after a kill, logged, with sample sheets, networks at the end.

    from invertory.training.loop.train import train
    folder = train(StyleGAN2Training(images, config, Compute.best()), Path("out"), images=300_000)

In the folder: `state.pt` (replaced atomically; a second call goes on from it and reaches, on a
deterministic device, the very weights of an undisturbed run), `log.jsonl` (losses, mean since the
line before; metrics), `sheets/<images>.jpg` (real above, made below), and with every evaluation
`<network>.safetensors` with its `<network>.json` (architecture, images, settings, metrics).
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
    """Train until `images` images have been seen (rounded up to batches); returns `folder`.

    The cadences are in images. `progress` is called at each line of the log.
    """
    for network in training.networks().values():
        architecture_name(network)  # an unknown class fails now, not after an hour
    cadence = Cadence(log=log_every, checkpoint=checkpoint_every, evaluate=evaluate_every)
    run = Run(training, folder, images, cadence, progress)
    (folder / "sheets").mkdir(parents=True, exist_ok=True)
    resume(run)
    if run.steps and run.is_due(run.cadence.evaluate) and not _is_measured(run):
        _measure(run)  # it failed, or was killed, when its state was kept already
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
    """What is due after a step. A checkpoint flushes the log, so that no sums need be stored.

    The state is kept before it is measured: where that fails, a later call begins with it.
    """
    is_saving, is_measuring = run.is_due(run.cadence.checkpoint), run.is_due(run.cadence.evaluate)
    if is_saving or is_measuring or run.is_due(run.cadence.log):
        _log_losses(run)
    if is_saving or is_measuring:
        save(run)
    if is_measuring:
        _measure(run)


def _log_losses(run: Run) -> None:
    """The only place where the device is waited for."""
    means = {name: float(total) / num for name, (total, num) in run.sums.items()}
    run.sums.clear()
    bad = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise non_finite(run, ", ".join(bad))
    speed = run.seen / run.seconds if run.seconds else 0.0
    _write_line(run, {"images": run.seen, "seconds": round(run.seconds, 1), **means})
    run.progress(run.seen, run.images, {**means, "images_per_s": speed})


def _measure(run: Run) -> None:
    """Metrics, sheet and networks; the line of the log comes last and says that all is there."""
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
    """Whether the log has the metrics of where the run stands."""
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
