"""Saves and restores the state of a run; stored states contain finite numbers only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invertory.training.data.digest import data_digests
from invertory.training.loop.results import plain, replace_file
from invertory.training.loop.run import Run


class NonFiniteError(RuntimeError):
    """A loss or a weight is NaN or infinite."""


def save(run: Run) -> None:
    """Save everything that a later call needs; the old state is replaced atomically."""
    state = run.training.state_dict()
    check_finite(run, state)
    stored = {
        "name": run.training.name,
        "config": plain(run.training.config),
        "steps": run.steps,
        "seconds": run.seconds,
        "metrics": run.metrics,
        "data": run.data,
        "training": state,
    }
    temporary = run.folder / ".state.pt"
    with temporary.open("wb") as file:
        torch.save(stored, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(run.folder / "state.pt")


def resume(run: Run) -> None:
    """Restore the state in the folder if there is one; otherwise start a new run.

    Raises ValueError if the state has other settings or other data.
    """
    run.data = data_digests(run.training)
    path = run.folder / "state.pt"
    if not path.is_file():
        # a run that was killed before its first state may have left a log
        (run.folder / "log.jsonl").unlink(missing_ok=True)
        return
    stored = torch.load(path, map_location="cpu", weights_only=True)
    expected = {"name": run.training.name, "config": plain(run.training.config)}
    for key, value in expected.items():
        if stored[key] != value:
            raise ValueError(
                f"expected {path} to hold a training of the {key} {value}, got {stored[key]}: "
                "use the same settings, or another folder"
            )
    _check_data(run, stored.get("data", []))
    run.training.load_state_dict(stored["training"])
    run.steps, run.seconds, run.metrics = stored["steps"], stored["seconds"], stored["metrics"]
    _truncate_log(run)


def _check_data(run: Run, stored: list[str]) -> None:
    """Raise ValueError for other images; old states without digests are accepted."""
    if stored and run.data != stored:
        raise ValueError(
            f"expected the data that {run.folder / 'state.pt'} was trained on, "
            f"{'; '.join(stored)}, got {'; '.join(run.data) or 'none'}: use the same images, or "
            "another folder"
        )


def _truncate_log(run: Run) -> None:
    """Remove the lines after the restored step, which will be written again, and partial lines."""
    path = run.folder / "log.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["images"] <= run.seen]
    replace_file(path, "".join(f"{line}\n" for line in kept).encode())


def check_finite(run: Run, state: Mapping[str, Any]) -> None:
    """Raise NonFiniteError if a float of the state is not finite."""
    bad = [name for name, tensor in _floats(state, "") if not torch.isfinite(tensor).all()]
    if bad:
        raise non_finite(run, f"no finite {bad[0]}")


def non_finite(run: Run, what: str) -> NonFiniteError:
    """The error, with the location of the last good state and a remedy."""
    path = run.folder / "state.pt"
    kept = f"{path} keeps the last good state" if path.is_file() else "no state has been saved yet"
    return NonFiniteError(
        f"expected finite losses and weights, got {what} near image {run.seen}; {kept}. "
        "Lower the learning rate or use float32, and train into another folder"
    )


def _floats(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """Every float tensor in a nested state, with its path."""
    if isinstance(value, Tensor):
        return [(name, value)] if value.is_floating_point() else []
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    items = value.items() if isinstance(value, Mapping) else ()
    return [pair for key, item in items for pair in _floats(item, f"{name}/{key}")]
