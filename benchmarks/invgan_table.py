"""InvGAN's table 1 for networks that Invertory trains: its three stages and later encoders.

    python benchmarks/invgan_table.py --num 1000 --json invgan.json
    python benchmarks/invgan_table.py --set digits

Frechet distances to an equal number of training images use the features of the portrait
classifier, and those of Inception if its weights are available; digits use their pixels at 8 x 8.
The distances are biased by n, so compare them at equal n only. The row `test` lists other real
images, the best possible at this n. No training has seen the images of the test set. Times cover
the forward pass of the encoder, in batches.

"full, features alone" has no pixel term, as in the paper. "afterwards, same encoder" is the control
of joint training: G and M are frozen (invgan_config.py). Neither is bundled. A missing row is
skipped with a message; `invertory train portraits_invgan_features` and `invertory train
portraits_invgan_afterwards` make them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from invertory.images import to_tensor
from invertory.metrics.inception import InceptionFeatures
from invertory.metrics.invertible import (
    SETS,
    InvertibleGAN,
    absolute_error,
    frechet_to,
    seconds_per_image,
    synthesise_sets,
)
from invertory.metrics.quality import Embedding, embed_set
from invertory.portraits.dataset import prepare
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.digits import digits
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from invertory.networks.classifier import AttributeClassifier

TITLES = dict(zip(SETS, ("RandFID", "RandRecFID", "TsRecFID", "IntTsFID"), strict=True))
HELD_OUT_DIGITS = 256  # of trainings/digits_invgan.yaml


@dataclass(frozen=True)
class Row:
    """One row of the table: a generator and an encoder by their names."""

    title: str
    generator: str
    encoder: str
    is_bundled: bool = True  # otherwise skipped unless it was trained here

    @classmethod
    def parse(cls, text: str) -> Row:
        """TITLE=GENERATOR,ENCODER"""
        title, _, names = text.partition("=")
        generator, _, encoder = names.partition(",")
        if not (title and generator and encoder):
            raise ValueError(f"expected TITLE=GENERATOR,ENCODER, got {text!r}")
        return cls(title, generator, encoder)


ROWS = {
    "portraits": (
        Row("naive", "portraits_invgan_naive_generator", "portraits_invgan_naive_encoder"),
        Row(
            "augmented",
            "portraits_invgan_augmented_generator",
            "portraits_invgan_augmented_encoder",
        ),
        Row(
            "full, features alone",
            "portraits_invgan_features_generator",
            "portraits_invgan_features_encoder",
            is_bundled=False,
        ),
        Row("full", "portraits_invgan_generator", "portraits_invgan_encoder"),
        Row(
            "afterwards, same encoder",
            "portraits_invgan_afterwards_generator",
            "portraits_invgan_afterwards_encoder",
            is_bundled=False,
        ),
        Row("afterwards, domain-guided", "portraits_generator", "portraits_domain_guided_encoder"),
    ),
    "digits": (
        Row("naive", "digits_invgan_naive_generator", "digits_invgan_naive_encoder"),
        Row("augmented", "digits_invgan_augmented_generator", "digits_invgan_augmented_encoder"),
        Row("full", "digits_invgan_generator", "digits_invgan_encoder"),
    ),
}


def network(name: str, models: ModelStore) -> Any:
    """The network at an address; a bare name means the bundled one, else the one trained here."""
    addresses = [name] if "://" in name else [f"bundled://{name}", f"trained://{name}"]
    for address in addresses:
        try:
            weights, card = fetch_network(address, models)
        except (OSError, ValueError) as error:
            problem = error
            continue
        return load_network(weights, card=card)
    raise FileNotFoundError(
        f"{name} is unavailable ({problem}); train it, or name another with --row"
    )


def available(rows: Iterable[Row], models: ModelStore) -> list[Row]:
    """The rows whose networks are available; the others are reported on stderr."""
    found = []
    for row in rows:
        try:
            for name in () if row.is_bundled else (row.generator, row.encoder):
                network(name, models)
        except FileNotFoundError as error:
            print(f"skipped {row.title}: {error}", file=sys.stderr)
        else:
            found.append(row)
    return found


def images(args: argparse.Namespace, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training images uint8 [N, R, R, 3], and as many images of the test set."""
    if args.set == "portraits":
        train, test = (
            prepare(folder / name, args.num, seed=seed, size_px=64, processes=1).images
            for name, seed in (("train", args.train_seed), ("test", args.seed))
        )
        return train, test
    from PIL import Image

    grey = [Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC) for one in digits()[0]]
    rgb = np.repeat(np.stack([np.asarray(one) for one in grey])[..., None], 3, 3)
    num = min(args.num, HELD_OUT_DIGITS)
    return rgb[:num], rgb[-HELD_OUT_DIGITS:][:num]


def batches(found: np.ndarray, size: int) -> list[Tensor]:
    return [to_tensor(list(found[i : i + size])) for i in range(0, len(found), size)]


def embeddings(args: argparse.Namespace, models: ModelStore) -> dict[str, Embedding]:
    """Embeddings by the name of their features."""
    if args.set == "digits":
        return {"pixels of 8 x 8": lambda x: adaptive_avg_pool2d(x[:, :1], 8).flatten(1)}
    classifier = cast("AttributeClassifier", network(args.classifier, models))
    found: dict[str, Embedding] = {"classifier": classifier.to(args.device).embedding}
    card = PINNED["inception-2015"]
    if args.inception and (models.is_available_offline(card) or not models.is_offline()):
        try:
            inception = InceptionFeatures.read(models.fetch(card.source)).to(args.device)
        except (OSError, ValueError, ImportError) as error:
            print(f"skipped the features of Inception: {error}", file=sys.stderr)
        else:
            found["inception"] = inception

    def placed(embedding: Embedding) -> Embedding:
        return lambda x: embedding(x.to(args.device))

    return {name: placed(embedding) for name, embedding in found.items()}


def measured(
    row: Row, args: argparse.Namespace, truth: Truth, models: ModelStore
) -> dict[str, Any]:
    """One row of the table, with distances by the name of the features."""
    names = (row.generator, row.encoder)
    generator, encoder = (network(name, models).to(args.device) for name in names)
    pair = InvertibleGAN(generator, encoder)
    sets = synthesise_sets(pair, truth.test, seed=args.seed)
    clock = _clock(args.device)
    x = truth.test[0].to(args.device)
    return {
        "model": row.title,
        "generator": row.generator,
        "encoder": row.encoder,
        "fid": {
            name: frechet_to(truth.train[name], sets, embedding)
            for name, embedding in truth.embeddings.items()
        },
        "mae": absolute_error(sets["test_reconstructed"], truth.test),
        "s_a_picture": seconds_per_image(pair.latents, x, clock),
        "n": sum(map(len, truth.test)),
    }


class Truth:
    """Real images of both sets, and the moments of their embeddings."""

    def __init__(self, args: argparse.Namespace, folder: Path, models: ModelStore) -> None:
        train, test = images(args, folder)
        self.test = batches(test, args.batch)
        self.embeddings = embeddings(args, models)
        self.train = {
            name: embed_set(batches(train, args.batch), embedding).moments
            for name, embedding in self.embeddings.items()
        }

    def line(self) -> dict[str, Any]:
        """The row of the test images themselves."""
        fid = {
            name: frechet_to(self.train[name], {"test_reconstructed": self.test}, embedding)
            for name, embedding in self.embeddings.items()
        }
        return {"model": "test", "fid": fid, "mae": 0.0, "n": sum(map(len, self.test))}


def _clock(device: str) -> Callable[[], float]:
    """A clock in seconds that waits for the device first."""

    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    return now


def print_table(rows: list[dict[str, Any]]) -> None:
    titles = " | ".join(TITLES.values())
    print(f"| features | model | {titles} | MAE on [-1, 1] | ms per image | n |")
    print("|---" * (len(TITLES) + 5) + "|")
    for features in rows[0]["fid"]:
        for row in rows:
            found = row["fid"][features]
            cells = [f"{found[name]:.2f}" if name in found else "-" for name in SETS]
            took = f"{1e3 * row['s_a_picture']:.2f}" if "s_a_picture" in row else "-"
            line = [features, row["model"], *cells, f"{row['mae']:.3f}", took, str(row["n"])]
            print(f"| {' | '.join(line)} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", choices=sorted(ROWS), default="portraits")
    parser.add_argument(
        "--row", action="append", help="TITLE=GENERATOR,ENCODER, instead of the built-in rows"
    )
    parser.add_argument(
        "--num", type=int, default=500, help="images in each set (500); the paper has 500 and 50000"
    )
    parser.add_argument(
        "--seed", type=int, default=700_001, help="of images that no training has seen"
    )
    parser.add_argument(
        "--train-seed", type=int, default=0, help="of portraits that the trainings have seen"
    )
    parser.add_argument("--classifier", default="portraits_classifier")
    parser.add_argument("--inception", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="folder that keeps the portraits (default: a temporary one)"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    models = ModelStore()
    rows = available(map(Row.parse, args.row) if args.row else ROWS[args.set], models)
    with tempfile.TemporaryDirectory() as scratch:
        truth = Truth(args, args.folder or Path(scratch), models)
        table = [truth.line(), *(measured(row, args, truth, models) for row in rows)]
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n")
    print_table(table)


if __name__ == "__main__":
    main()
