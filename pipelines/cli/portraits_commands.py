"""`invertory portraits`: render a labelled collection of faces to a folder, with a sheet."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from invertory.pipelines.cli.output import add_command, make_progress, print_error, print_result
from invertory.pipelines.errors.exit_codes import USAGE
from invertory.pipelines.gallery.thumbnails import contact_sheet

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.portraits import Rendering
    from invertory.resources.portraits import Portraits

BLOCK_ROWS = 256
SHEET_IMAGES, SHEET_BYTES = 64, 4 << 20
OOD_SHARE = 0.25
ABOUT = "portraits.json"
# Colours of the segments in a viewer; pixel values are indices into SEGMENTS.
PALETTE = (
    *(32, 34, 40), *(222, 172, 140), *(96, 64, 40), *(70, 130, 220),
    *(200, 60, 80), *(90, 150, 90), *(230, 200, 70), *(190, 80, 200),
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add `invertory portraits` with its options."""
    command = add_command(
        commands, "portraits", _portraits, "render a labelled collection of faces"
    )
    command.add_argument("--num", type=int, default=64, help="number of portraits (64)")
    command.add_argument("--size", type=int, default=128, help="side of an image in px (128)")
    command.add_argument(
        "--seed", type=int, default=0, help="portrait i depends only on the seed and i"
    )
    command.add_argument(
        "--ood", type=float, nargs="?", const=OOD_SHARE, default=0.0, metavar="SHARE",
        help=f"share with an object that no generator has seen ({OOD_SHARE:g} without a value)",
    )  # fmt: skip
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", dest="settings",
        help="world settings: 'glasses=0.5', 'glasses|male=0.8', 'age_years=70', 'background=busy'",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, default=Path("portraits"), help="output folder (portraits)"
    )


def _portraits(options: argparse.Namespace) -> int:
    try:
        written = write_collection(parse_portraits(options), options.out, make_progress(options))
    except ValueError as error:
        return print_error(error, USAGE)
    return print_result(
        options, written, lambda _: print(f"{written['sheet']}\n{written['address']}")
    )


def parse_portraits(options: argparse.Namespace) -> Portraits:
    """Parse the options before anything is rendered; ValueError if they are invalid."""
    from invertory.resources.portraits import Portraits

    settings = [("num", options.num), ("seed", options.seed), ("size_px", options.size)]
    pairs = [(name, str(value)) for name, value in settings]
    if options.ood:
        pairs.append(("ood", str(options.ood)))
    for text in options.settings:
        name, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"expected NAME=VALUE after --set, got {text!r}; write {text}=1")
        pairs.append((name.strip(), value.strip()))
    return Portraits.of(pairs)


def write_collection(portraits: Portraits, folder: Path, progress: Progress) -> dict[str, Any]:
    """Render the portraits to a folder and return a summary of what was written.

    `pictures` and `segmentations` contain PNGs of the same names, `attributes.parquet` one row per
    portrait with its attributes and landmarks [68, 2] in px, and `sheet.jpg` the first portraits.
    """
    summary = _claim(portraits, folder)
    sheet_images: list[bytes] = []
    with (
        pq.ParquetWriter(folder / "attributes.parquet", _schema()) as table,
        progress.stage("portraits", portraits.num, 0) as bar,
    ):
        for rows, images in _blocks(portraits, folder):
            table.write_batch(pa.RecordBatch.from_pylist(rows, schema=_schema()))
            sheet_images += images[: SHEET_IMAGES - len(sheet_images)]
            bar.advance(len(rows), 0)
    sheet = contact_sheet(
        sheet_images, [""] * len(sheet_images), cell_px=128, max_bytes=SHEET_BYTES
    )
    (folder / "sheet.jpg").write_bytes(sheet)
    (folder / ABOUT).write_text(json.dumps(summary, indent=2) + "\n")
    return {"folder": str(folder), "sheet": str(folder / "sheet.jpg"), **summary}


def _claim(portraits: Portraits, folder: Path) -> dict[str, Any]:
    """Prepare the folder, which must be empty or contain a collection written by this command."""
    from invertory.portraits import SEGMENTS
    from invertory.resources.portraits import SCHEME

    if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise ValueError(f"expected an empty folder at {folder}, got files; name another (--out)")
    for name in ("pictures", "segmentations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).glob("*.png"):
            old.unlink()
    (folder / ABOUT).write_text("{}\n")
    address = f"{SCHEME}?num={portraits.num}&{portraits.root.removeprefix('?')}"
    return {"num": portraits.num, "address": address, "segments": list(SEGMENTS)}


def _blocks(
    portraits: Portraits, folder: Path
) -> Iterator[tuple[list[dict[str, Any]], list[bytes]]]:
    """Write `BLOCK_ROWS` portraits at a time, and yield their rows and images."""
    from invertory.images import encode
    from invertory.portraits import render

    for start in range(0, portraits.num, BLOCK_ROWS):
        rows, images = [], []
        for i in range(start, min(start + BLOCK_ROWS, portraits.num)):
            name, portrait = f"{i:06d}.png", portraits.portrait(i)
            rendering = render(portrait, portraits.size_px)
            images.append(encode(rendering.image))
            (folder / "pictures" / name).write_bytes(images[-1])
            (folder / "segmentations" / name).write_bytes(_segmentation(rendering))
            about = {"file": name, "seed": portrait.seed, "landmarks": rendering.landmarks.tolist()}
            rows.append(about | portrait.attributes)
        yield rows, images


def _segmentation(rendering: Rendering) -> bytes:
    """Encode a segmentation as a PNG whose pixel values are indices into SEGMENTS."""
    image = Image.fromarray(rendering.segmentation)
    image.putpalette(PALETTE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _schema() -> pa.Schema:
    from invertory.portraits import ATTRIBUTES

    point = pa.list_(pa.field("item", pa.float32(), False), 2)
    return pa.schema(
        [
            pa.field("file", pa.string(), False),
            pa.field("seed", pa.int64(), False),
            *(pa.field(name, pa.float32(), False) for name in ATTRIBUTES),
            pa.field("landmarks", pa.list_(pa.field("item", point, False), 68), False),
        ]
    )
