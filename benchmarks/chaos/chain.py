"""A recipe with every stage on the toy generator, over a few small images."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.chaos.classifier import onnx_mean

METHOD = "pti"  # its rows have states, which lie in files of their own
NUM_IMAGES = 10
SHARD_SIZE = 6  # two shards
SIZE_PX = 32
BROKEN = {
    "broken.png": b"\x89PNG\r\n\x1a\n",
    "text.png": b"not an image",
}


def recipe(images: str) -> dict[str, Any]:
    """From files to the exported set in every format."""
    boundary = {"fit": "collection", "ratio": 0.5, "solver": "linear"}
    return {
        "name": "toy",
        "collection": {"uri": images, "shard_size": SHARD_SIZE},
        "limits": {"min_px": 16},
        "alignment": {"kind": "centre", "size_px": SIZE_PX},
        "generator": {"name": "toy", "options": {"resolution": SIZE_PX, "frequencies": 2}},
        "perceptual": {"name": "pixels"},
        "methods": {METHOD: {"pivot_steps": 2, "w_samples": 16, "steps": 2, "rank": 1}},
        "attributes": {
            "red": _scorer(0),
            "green": _scorer(1),
            "kind": {"scorer": "labels", "uri": "labels.csv"},
        },
        "boundaries": {"red": boundary, "green": boundary, "kind": boundary},
        "edits": [{"attribute": "red", "steps": [-1.0, 1.0]}],
        "augmentation": {"method": METHOD, "target": "red", "protected": "green"},
        "export": {"counts": "all", "formats": ["webdataset", "imagefolder", "parquet"]},
        "resources": {"device": "cpu", "batch_size": 8, "commit_rows": 2},
    }


def _scorer(output: int) -> dict[str, Any]:
    digest = hashlib.sha256(onnx_mean(SIZE_PX)).hexdigest()
    return {"scorer": "onnx", "uri": "mean.onnx", "sha256": digest, "size_px": SIZE_PX,
            "output": output}  # fmt: skip


def write_inputs(folder: Path, seed: int) -> None:
    """Images of random colours, two broken files, a table of labels and a classifier."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(NUM_IMAGES):
        path = folder / f"images/{number:03d}.png"
        red, green = number % 2, number // 2 % 2
        colour = 80 * np.array([red, green, 0]) + 40
        pixels = rng.normal(colour, 30, (48, 48, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        rows.append((path.name, red ^ green))
    for name, data in BROKEN.items():
        (folder / "images" / name).write_bytes(data)
    for path in (folder / "images").iterdir():
        os.utime(path, (1e9, 1e9))  # tables hold the files' times
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "kind"), *rows])
    (folder / "mean.onnx").write_bytes(onnx_mean(SIZE_PX))


def write_recipe(folder: Path, images: str = "images") -> None:
    """`toy.yaml`; only `images` differs from trial to trial."""
    (folder / "toy.yaml").write_text(yaml.safe_dump(recipe(images), sort_keys=False))
