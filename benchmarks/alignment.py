"""Accuracy and speed of face detection and alignment, as Markdown tables.

    python benchmarks/alignment.py --data ../shared/data

1. Anchors against the hand-made templates of the Face Research Lab London Set (28 neutral faces).
2. Crops against those of the official FFHQ code (data/golden/ffhq_align).
3. Self-alignment: an FFHQ generator draws aligned faces, so aligning them again must be the
   identity.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from invertory.alignment import align_face, anchors_from_landmarks, face_quad
from invertory.images import Pixels, to_uint8
from invertory.landmarks import Dlib, FaceDetector, YuNetMediaPipe
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

PUPILS_AND_MOUTH = [0, 1, 87, 93]  # points of an FRLL template


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=12, help="images drawn by the generator")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = ModelStore()
    golden_table(arguments.data / "golden/ffhq_align")
    with YuNetMediaPipe(fetch(models, "yunet"), fetch(models, "face-landmarker")) as detector:
        detectors: dict[str, FaceDetector] = {"YuNet, then MediaPipe": detector}
        detectors |= dlib_detector(models)
        template_table(arguments.data / "frll", detectors)
        if arguments.samples:
            self_table(detector, arguments.samples, models)


def fetch(models: ModelStore, name: str) -> Path:
    return models.fetch(PINNED[name].source)


def dlib_detector(models: ModelStore) -> dict[str, FaceDetector]:
    try:
        return {"dlib HOG at 512, 68 points": Dlib(fetch(models, "dlib-68"))}
    except ImportError as error:
        print(f"dlib is left out: {error}\n")
        return {}


def template_table(folder: Path, detectors: dict[str, FaceDetector]) -> None:
    images = [
        (np.asarray(Image.open(path).convert("RGB")), read_template(path.with_suffix(".tem")))
        for path in sorted(folder.glob("*_03.jpg"))
    ]
    print(f"FRLL, n = {len(images)}, 1350 px; error in % of the interpupillary distance\n")
    print(
        "| detector | found | error mean | error 95 % | crop rotation deg | img/s | img/s of CPU |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, detector in detectors.items():
        wall, cpu = time.perf_counter(), time.process_time()
        found = [(detector.detect(image), template) for image, template in images]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        pairs = [(faces[0].anchors, template) for faces, template in found if faces]
        errors = np.array([anchor_error(*pair) for pair in pairs])
        rotations = [abs(quad_degrees(a) - quad_degrees(b)) for a, b in pairs]
        print(
            f"| {name} | {len(pairs)}/{len(images)} | {errors.mean():.2f} "
            f"| {np.percentile(errors, 95):.2f} | {np.mean(rotations):.2f} "
            f"| {len(images) / wall:.1f} | {len(images) / cpu:.1f} |"
        )
    print()


def read_template(path: Path) -> np.ndarray:
    lines = path.read_text().splitlines()
    points = [[float(n) for n in line.split()] for line in lines[1 : 1 + int(lines[0])]]
    return np.array(points)[PUPILS_AND_MOUTH]


def anchor_error(anchors: np.ndarray, template: np.ndarray) -> float:
    between_pupils = np.hypot(*(template[1] - template[0]))
    return float(np.hypot(*(anchors - template).T).mean() / between_pupils * 100)


def quad_degrees(anchors: np.ndarray) -> float:
    quad = face_quad(anchors)
    return float(np.degrees(np.arctan2(*(quad[3] - quad[0])[::-1])))


def golden_table(folder: Path) -> None:
    print("Crops at 256 px against those of the official code; differences in levels of 255\n")
    print("| photo | case | quad, max px | max | mean | ms |")
    print("|---|---|---|---|---|---|")
    for row in golden_rows(folder):
        print("| {photo} | {case} | {quad:.1e} | {max} | {mean:.3f} | {ms:.0f} |".format(**row))
    print()


def golden_rows(folder: Path) -> Iterator[dict[str, Any]]:
    arrays = np.load(folder / "landmarks_quads.npz", allow_pickle=False)
    for photo, entry in json.loads((folder / "cases.json").read_text())["photos"].items():
        image = np.asarray(Image.open(folder / entry["file"]).convert("RGB"))
        anchors = anchors_from_landmarks(arrays[f"{photo}/landmarks"])
        for case in entry["cases"]:
            options = dict(case["kwargs"])
            size_px = options.pop("output_size")
            official = np.asarray(Image.open(folder / case["output"]).convert("RGB"))
            quad = arrays[f"{photo}/{case['name']}/quad"].reshape(4, 2)
            yield {"photo": photo, "case": case["name"]} | compared(
                image, anchors, size_px, official, quad, **options
            )
        official = np.asarray(Image.open(folder / f"{photo}_t4096.png").convert("RGB"))
        quad = arrays[f"{photo}/t4096/quad"].reshape(4, 2)
        yield {"photo": photo, "case": "our default, against t4096"} | compared(
            image, anchors, 256, official, quad
        )


def compared(
    image: Pixels,
    anchors: np.ndarray,
    size_px: int,
    official: Pixels,
    quad: np.ndarray,
    **options: Any,
) -> dict[str, Any]:
    began = time.perf_counter()
    crop = align_face(image, anchors, size_px=size_px, **options)
    ms = (time.perf_counter() - began) * 1000
    difference = np.abs(crop.pixels.astype(int) - official)
    off = float(np.abs(crop.quad - quad).max())
    return {"quad": off, "max": difference.max(), "mean": difference.mean(), "ms": ms}


def self_table(detector: FaceDetector, num_samples: int, models: ModelStore) -> None:
    """Print the offset, size and rotation of the second crop relative to the first."""
    found = map(self_row, samples(num_samples, detector, models))
    rows = np.array([row for row in found if row is not None])
    print(f"Self-alignment of the FFHQ generator's images, n = {len(rows)} of {num_samples}\n")
    print("| | mean | standard deviation |")
    print("|---|---|---|")
    names = ("offset x, % of the side", "offset y, % of the side", "size, %", "rotation, deg")
    for name, values in zip(names, rows.T, strict=True):
        print(f"| {name} | {values.mean():+.2f} | {values.std():.2f} |")


def samples(
    num_samples: int, detector: FaceDetector, models: ModelStore
) -> Iterator[np.ndarray | None]:
    """Anchors on images of the generator (1024 px, psi 0.7); None where no face is found."""
    from invertory.generators.mobile_stylegan import MobileStyleGAN

    files = models.fetch_all(PINNED["mobile-stylegan-ffhq"].source)
    data = {path.name: path.read_bytes() for path in files}
    parts = [
        f"{part}Network.{kind}" for part in ("Mapping", "Synthesis") for kind in ("xml", "bin")
    ]
    generator = MobileStyleGAN.from_openvino(*(data[name] for name in parts))
    for seed in range(num_samples):
        z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            w = generator.w_avg + 0.7 * (generator.mapping(z) - generator.w_avg)
            image = to_uint8(generator.synthesis(w[:, None].repeat(1, generator.num_ws, 1)))[0]
        faces = detector.detect(image)
        yield faces[0].anchors if faces else None


def self_row(anchors: np.ndarray | None) -> tuple[float, float, float, float] | None:
    if anchors is None:
        return None
    quad, side = face_quad(anchors), 1024
    x, y = (quad.mean(0) + 0.5) / side * 100 - 50
    size = np.hypot(*(quad[3] - quad[0])) / side * 100 - 100
    return float(x), float(y), float(size), quad_degrees(anchors)


if __name__ == "__main__":
    main()
