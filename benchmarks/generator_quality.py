"""Quality of a generator of portraits: FID, KID, precision, recall and a contact sheet.

Each value is listed next to that of other real portraits, the best possible at this n. FID is
biased by n, so compare it at equal n only; KID, given times 1000, is unbiased.

    python benchmarks/generator_quality.py --generator bundled://portraits_generator --num 2000

The features of the classifier measure the attributes of a face, those of Inception, trained on
photographs, its texture. Images are rounded to 8 bits; noise inputs are the generator's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from invertory.images import to_tensor, to_uint8
from invertory.metrics.inception import InceptionFeatures
from invertory.metrics.quality import Embedding, SetComparison, compare_embedded, embed_set
from invertory.portraits.dataset import prepare
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.networks.classifier import AttributeClassifier

GAP_PX = 12  # on the sheet, between real images above and generated ones below


def network(uri: str, models: ModelStore) -> nn.Module:
    weights, card = fetch_network(uri, models)
    return load_network(weights, card=card)


def generated_images(
    generator: Generator, num: int, *, seed: int, batch: int, psi: float, device: str
) -> Iterator[Tensor]:
    """Batches [N, 3, R, R] in [-1, 1], rounded to 8 bits; image i depends only on seed and i."""
    for start in range(0, num, batch):
        rows = range(start, min(start + batch, num))
        draws = [torch.Generator().manual_seed(seed * 1_000_003 + row) for row in rows]
        z = torch.stack([torch.randn(generator.z_dim, generator=rng) for rng in draws])
        with torch.no_grad():
            w = generator.w_avg.lerp(generator.mapping(z.to(device)), psi)
            made = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
        yield to_tensor(list(to_uint8(made)))


def real_images(images: np.ndarray, batch: int) -> Iterator[Tensor]:
    """Batches of uint8 [N, H, W, 3] => [N, 3, H, W] in [-1, 1]."""
    for start in range(0, len(images), batch):
        yield to_tensor(list(images[start : start + batch]))


def embeddings(args: argparse.Namespace, models: ModelStore) -> dict[str, Embedding]:
    """Embeddings by name, on the device, under bf16 if requested."""
    found: dict[str, Embedding] = {}
    if args.classifier:
        classifier = cast("AttributeClassifier", network(args.classifier, models))
        found["classifier"] = classifier.to(args.device).embedding
    if args.inception:
        path = models.fetch(PINNED["inception-2015"].source)
        found["inception"] = InceptionFeatures.read(path).to(args.device)

    def placed(embedding: Embedding) -> Embedding:
        def embed(x: Tensor) -> Tensor:
            kind = args.device.partition(":")[0]
            with torch.autocast(kind, torch.bfloat16, enabled=args.bf16):
                return embedding(x.to(args.device))

        return embed

    return {name: placed(embedding) for name, embedding in found.items()}


def sheet(real: np.ndarray, made: np.ndarray, columns: int) -> np.ndarray:
    """Arrays uint8 [N, H, W, 3], N a multiple of `columns` => one image, real ones above."""

    def grid(images: np.ndarray) -> np.ndarray:
        n, h, w, _ = images.shape
        rows = images.reshape(n // columns, columns, h, w, 3).swapaxes(1, 2)
        return rows.reshape(n // columns * h, columns * w, 3)

    above, below = grid(real), grid(made)
    gap = np.full((GAP_PX, above.shape[1], 3), 255, np.uint8)
    return np.concatenate([above, gap, below])


def write_sheet(path: Path, real: np.ndarray, made: Iterator[Tensor], columns: int) -> None:
    drawn = np.concatenate([to_uint8(batch) for batch in made])
    path.parent.mkdir(parents=True, exist_ok=True)
    both = sheet(np.asarray(real[: len(drawn)]), drawn, columns)
    Image.fromarray(both).save(path, quality=92, subsampling=0)


def print_table(rows: list[dict[str, Any]]) -> None:
    print("| features | portraits against | n each | FID | KID x 1000 | precision | recall |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            "| {features} | {against} | {n_made} | {fid:.2f} | {k:.2f} ± {s:.2f} | {precision:.3f} "
            "| {recall:.3f} |".format(k=1000 * row["kid"], s=1000 * row["kid_std"], **row)
        )


def row(features: str, against: str, found: SetComparison) -> dict[str, Any]:
    return {"features": features, "against": against} | asdict(found)


def judged(
    args: argparse.Namespace, generator: Generator, folder: Path, models: ModelStore
) -> list[dict[str, Any]]:
    """One row per embedding and set; also writes the sheet."""
    options = {"size_px": generator.resolution, "processes": args.processes}
    real = prepare(folder / "real", args.num, seed=args.seed, **options).images
    other = prepare(folder / "other", args.num, seed=args.seed + 1, **options).images
    draw = {"seed": args.seed, "batch": args.batch, "psi": args.psi, "device": args.device}
    if args.sheet:
        columns = args.sheet_columns
        num = min(args.sheet_rows, args.num // columns) * columns
        write_sheet(args.sheet, real, generated_images(generator, num, **draw), columns)
    rows = []
    for name, embedding in embeddings(args, models).items():
        reference = embed_set(real_images(real, args.batch), embedding)
        baseline = embed_set(real_images(other, args.batch), embedding)
        made = embed_set(generated_images(generator, args.num, **draw), embedding)
        rows.append(row(name, "generated", compare_embedded(reference, made)))
        rows.append(row(name, "other portraits", compare_embedded(reference, baseline)))
    return rows


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--generator", default="bundled://portraits_generator")
    parser.add_argument("--classifier", default="bundled://portraits_classifier", help="'': none")
    parser.add_argument("--inception", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--num", type=int, default=2000, help="images in each set")
    parser.add_argument(
        "--seed", type=int, default=700_001, help="of portraits that no training has seen"
    )
    parser.add_argument("--psi", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="embed in bf16: faster and less exact")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="number of rendering processes")
    parser.add_argument(
        "--folder", type=Path, help="folder that keeps the portraits (default: a temporary one)"
    )
    parser.add_argument(
        "--sheet", type=Path, help="file of the contact sheet, such as docs/portraits_generator.jpg"
    )
    parser.add_argument("--sheet-columns", type=int, default=12)
    parser.add_argument(
        "--sheet-rows", type=int, default=4, help="rows of real and of generated images"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    start, models = time.perf_counter(), ModelStore()
    generator = cast("Generator", network(args.generator, models).to(args.device))
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = judged(args, generator, folder, models)
    settings = {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()}
    summary = {"settings": settings, "rows": rows, "took_s": round(time.perf_counter() - start, 1)}
    if args.json:
        args.json.write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary))
    print()
    print_table(rows)


if __name__ == "__main__":
    main()
