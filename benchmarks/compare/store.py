"""A cache of results, so that comparisons can be resumed and shared between processes.

A file contains one unit, an arm or an analysis. Its name has a digest of everything that the unit
depends on: weights, parameters, images, and the code that computes it (`sources`). If any of these
changes, the unit is measured again, and `stale` lists the changes. `--fresh` measures everything
again, for example after an update of a library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare.results import Values

FORM = 2  # version of the file format
_JOIN = "\x1f"
SHOWN = 3  # changes listed by name
SHORT = 60  # characters of listed values


@dataclass(slots=True)
class Kept:
    """The results of one unit."""

    columns: dict[str, dict[str, Values]] = field(default_factory=dict)  # part => measure => [N]
    pictures: dict[str, Tensor] = field(default_factory=dict)  # [n, C, H, W] in [-1, 1]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of units; with `is_fresh` existing files are replaced, not read."""

    folder: Path
    is_fresh: bool = False

    def path(self, name: str, key: Mapping[str, Any]) -> Path:
        text = json.dumps({"form": FORM, "name": name, **key}, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.folder / f"{_word(name)}-{digest}.npz"

    def has(self, name: str, key: Mapping[str, Any]) -> bool:
        return not self.is_fresh and self.path(name, key).is_file()

    def kept(self, name: str, key: Mapping[str, Any], make: Callable[[], Kept]) -> Kept:
        """Read the unit from its file, or else measure and store it."""
        path = self.path(name, key)
        if self.has(name, key):
            return read(path)
        found = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        write(found, path, key)
        return found

    def stale(self, name: str, key: Mapping[str, Any]) -> str:
        """The changes since the most similar stored unit of this name, if any."""
        wanted = _flat(key)
        differences = []
        for path in sorted(self.folder.glob(f"{_word(name)}-*.npz")):
            stored = key_in(path)
            differences.append(
                _changes(stored, wanted) if stored is not None else ["the file's form"]
            )
        changed = min(differences, key=len, default=[])
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        return ", ".join(changed[:SHOWN]) + more


def write(kept: Kept, path: Path, key: Mapping[str, Any] | None = None) -> None:
    """Write the file atomically."""
    arrays: dict[str, Any] = {
        _JOIN.join(("column", part, name)): values
        for part, columns in kept.columns.items()
        for name, values in columns.items()
    }
    for name, images in kept.pictures.items():
        levels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        arrays[_JOIN.join(("pictures", name))] = levels.numpy()
    arrays["told"] = np.array(json.dumps(kept.notes))
    arrays["key"] = np.array(json.dumps(_flat(key or {})))
    half = path.with_suffix(f".{os.getpid()}.tmp")
    with half.open("wb") as file:
        np.savez_compressed(file, **arrays)
    half.replace(path)


def read(path: Path) -> Kept:
    kept = Kept()
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            kind, *names = key.split(_JOIN)
            if kind == "column":
                kept.columns.setdefault(names[0], {})[names[1]] = arrays[key]
            elif kind == "pictures":
                kept.pictures[names[0]] = torch.from_numpy(arrays[key]).float() / 127.5 - 1
            elif kind == "told":
                kept.notes = json.loads(str(arrays[key]))
    return kept


def key_in(path: Path) -> dict[str, str] | None:
    """The flat key of a stored unit; None if the file has none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: dict[str, str] = json.loads(str(arrays["key"]))
            return found
    except (KeyError, ValueError, OSError):
        return None


def digest_of(network: Any) -> str:
    """A digest of a network's tensors, or of its name if it has none."""
    digest = hashlib.sha256(f"{type(network).__name__} {getattr(network, 'name', '')}".encode())
    if isinstance(network, torch.nn.Module):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _word(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _flat(key: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """The nested key as path => value, as text."""
    found: dict[str, str] = {}
    for name, value in key.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}: ")
        else:
            found[path] = json.dumps(value, default=str)
    return found


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The differences, one line each, without digests."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [_change(name, old.get(name, "none"), new.get(name, "none")) for name in names]


def _change(name: str, old: str, new: str) -> str:
    is_short = name.startswith("parameters: ") and len(old) + len(new) < SHORT
    return f"{name} ({old} before, {new} now)" if is_short else name
