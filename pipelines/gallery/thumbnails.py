"""Small JPEGs of images in any format, and contact sheets of many images."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

BACKGROUND: Final = (24, 26, 31)
INK: Final = (222, 226, 233)
FAINT: Final = (58, 62, 71)
LABEL_PX: Final = 18


class Thumbnail(NamedTuple):
    """A JPEG of an image, and the size in px of the upright image itself."""

    jpeg: bytes
    source_width: int
    source_height: int


def thumbnail(data: bytes, max_px: int, quality: int = 82) -> Thumbnail | None:
    """Return `data` as an upright JPEG of at most `max_px` a side; None if it is not an image."""
    from invertory.images import BadImage, decode  # imported here, as it imports torch

    try:
        image = Image.fromarray(decode(data).pixels)
    except BadImage:
        return None
    width, height = image.size
    image.thumbnail((max_px, max_px), Image.Resampling.LANCZOS)
    return Thumbnail(jpeg(image, quality), width, height)


def contact_sheet(
    images: Sequence[bytes],
    labels: Sequence[str],
    *,
    num_columns: int | None = None,
    cell_px: int = 128,
    max_bytes: int = 100_000,
) -> bytes:
    """Lay out images with their labels below them, as a JPEG of at most `max_bytes`.

    An image that cannot be decoded is a crossed cell. If the sheet is too large, first the quality
    is reduced, then the size of the cells.
    """
    if len(images) != len(labels) or not images:
        raise ValueError(
            f"expected one label per image and at least one, got {len(images)} images and "
            f"{len(labels)} labels; pass lists of equal length"
        )
    columns = num_columns or min(len(images), max(4, math.ceil(math.sqrt(len(images) * 1.6))))
    size = cell_px
    while True:
        sheet = _sheet(images, labels, columns, size)
        for quality in (88, 78, 66):
            data = jpeg(sheet, quality)
            if len(data) <= max_bytes:
                return data
        if size <= 16:
            raise ValueError(
                f"expected images that fit into {max_bytes} bytes, got {len(images)} that need "
                f"{len(data)}; pass fewer images"
            )
        size = max(16, int(size * 0.8))


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI, for self-contained pages and Markdown."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as an RGB JPEG."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _sheet(images: Sequence[bytes], labels: Sequence[str], columns: int, size: int) -> Image.Image:
    gap = max(2, size // 16)
    label_px = LABEL_PX if size >= 48 and any(labels) else 0
    rows = math.ceil(len(images) / columns)
    sheet = Image.new(
        "RGB",
        (columns * (size + gap) + gap, rows * (size + label_px + gap) + gap),
        BACKGROUND,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (data, label) in enumerate(zip(images, labels, strict=True)):
        x = gap + (i % columns) * (size + gap)
        y = gap + (i // columns) * (size + label_px + gap)
        _cell(sheet, draw, data, (x, y), size)
        if label_px:
            text = _fitting(label, font, size)
            draw.text((x + size / 2, y + size + 3), text, INK, font, anchor="ma")
    return sheet


def _cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, data: bytes, at: tuple[int, int], size: int
) -> None:
    (x, y), small = at, thumbnail(data, size, quality=95)
    if small is None:
        draw.rectangle((x, y, x + size - 1, y + size - 1), outline=FAINT)
        draw.line((x, y, x + size - 1, y + size - 1), fill=FAINT)
        draw.line((x, y + size - 1, x + size - 1, y), fill=FAINT)
        return
    image: Image.Image = Image.open(io.BytesIO(small.jpeg))
    if (times := size // max(image.size)) > 1:  # small images are enlarged to whole pixels
        image = image.resize([side * times for side in image.size], Image.Resampling.NEAREST)
    sheet.paste(image, (x + (size - image.width) // 2, y + (size - image.height) // 2))


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return `text` on one line, cut to `width`."""
    text = " ".join(text.split())[:80]
    while len(text) > 1 and font.getlength(text) > width:
        text = text.rstrip("…")[:-1] + "…"
    return text
