"""Contact sheets: named rows of images, or captioned groups side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from invertory.images import to_uint8

INK, PAPER = (34, 36, 42), (255, 255, 255)
LABEL_PX, MARGIN = 13, 6


class Group(NamedTuple):
    """Images [n, 3, H, W] in [-1, 1] with a caption, which may be empty."""

    caption: str
    pictures: Tensor


class Row(NamedTuple):
    name: str
    groups: Sequence[Group]

    @property
    def captions(self) -> tuple[str, ...]:
        return tuple(group.caption for group in self.groups)


class Look(NamedTuple):
    """Sizes in px; an image is two px smaller than its cell."""

    cell: int
    name: int  # the column of names
    label: int  # letters
    gap: int  # between groups


SMALL: Final = Look(66, 190, LABEL_PX, 0)  # an image of 64 px unscaled
LARGE: Final = Look(98, 214, 17, 18)  # scaled by 1.5


def sheet(rows: Sequence[tuple[str, Tensor]], look: Look = SMALL) -> Image.Image:
    """A sheet with a row for each (name, images [n, 3, H, W] in [-1, 1])."""
    return grouped([Row(name, [Group("", images)]) for name, images in rows], look)


def grouped(rows: Sequence[Row], look: Look = LARGE) -> Image.Image:
    """A sheet of rows of groups; each column of groups is as wide as its widest group.

    Captions are drawn above a row if they differ from those of the row before.
    """
    counts = _widths(rows)
    lefts = [look.name + sum(counts[:i]) * look.cell + i * look.gap for i in range(len(counts) + 1)]
    tops, height = _tops(rows, look)
    image = Image.new("RGB", (lefts[-1] - (look.gap if counts else 0), height), PAPER)
    draw = ImageDraw.Draw(image)
    for i, (row, top) in enumerate(zip(rows, tops, strict=True)):
        _name(draw, row.name, top, look)
        for group, left in zip(row.groups, lefts, strict=False):
            if _has_line(rows, i):
                draw.text((left, top - 5), group.caption, INK, font(look.label), anchor="ls")
            _paste(image, group.pictures, (left, top), look)
    return image


def save(image: Image.Image, path: Path, quality: int = 85) -> None:
    """Write the sheet as PNG or JPEG, depending on the suffix."""
    options = {"quality": quality} if path.suffix == ".jpg" else {"optimize": True}
    image.save(path, **options)


def font(px: int = LABEL_PX) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(px)


def _widths(rows: Sequence[Row]) -> list[int]:
    """The number of images of the widest group in each column."""
    lengths = ([len(group.pictures) for group in row.groups] for row in rows)
    return [max(places) for places in zip_longest(*lengths, fillvalue=0)]


def _has_line(rows: Sequence[Row], i: int) -> bool:
    before = rows[i - 1].captions if i else ()
    return any(rows[i].captions) and rows[i].captions != before


def _tops(rows: Sequence[Row], look: Look) -> tuple[list[int], int]:
    """The top of each row's images, and the total height."""
    tops, y = [], 0
    for i in range(len(rows)):
        y += look.label + 3 * MARGIN if _has_line(rows, i) else 0
        tops.append(y)
        y += look.cell
    return tops, y


def _name(draw: ImageDraw.ImageDraw, name: str, top: int, look: Look) -> None:
    """The text in lines that fit into the column of names."""
    letters = font(look.label)
    lines = [""]
    for word in name.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > look.name - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    for i, line in enumerate(lines):
        draw.text((MARGIN, top + 4 + i * (look.label + 3)), line, INK, letters)


def _paste(image: Image.Image, images: Tensor, corner: tuple[int, int], look: Look) -> None:
    side = look.cell - 2
    for i, pixels in enumerate(to_uint8(images) if len(images) else []):
        cell = Image.fromarray(pixels)
        if cell.size != (side, side):
            cell = cell.resize((side, side), Image.Resampling.BICUBIC)
        image.paste(cell, (corner[0] + i * look.cell, corner[1]))
