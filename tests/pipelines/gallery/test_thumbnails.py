import io

import numpy as np
import pytest
from PIL import Image

from invertory.pipelines.gallery.thumbnails import contact_sheet, thumbnail


def picture(width: int = 64, height: int = 64, *, seed: int = 0, kind: str = "PNG") -> bytes:
    """Noise: the worst case for a JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def test_a_contact_sheet_is_a_small_jpeg() -> None:
    pictures = [picture(300, 200, seed=i) for i in range(16)]
    sheet = contact_sheet(pictures, [f"{i} dB" for i in range(16)])
    assert len(sheet) <= 100_000
    assert Image.open(io.BytesIO(sheet)).format == "JPEG"


def test_a_contact_sheet_shows_the_images_in_order() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    files = []
    for colour in colours:
        out = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(out, "PNG")
        files.append(out.getvalue())
    sheet = contact_sheet(files, ["", "", ""], num_columns=2, cell_px=32)
    pixels = np.asarray(Image.open(io.BytesIO(sheet)), np.int64)
    centres = [(2 + 16, 2 + 16), (2 + 16, 2 + 34 + 16), (2 + 34 + 16, 2 + 16)]
    for (y, x), colour in zip(centres, colours, strict=True):
        assert np.abs(pixels[y, x] - colour).max() < 12


def test_a_contact_sheet_crosses_out_undecodable_images() -> None:
    assert contact_sheet([b"no picture", picture()], ["broken", "whole " * 30])


@pytest.mark.parametrize(("pictures", "labels"), [([], []), ([b""], ["a", "b"])])
def test_a_contact_sheet_needs_a_label_per_image(pictures: list[bytes], labels: list[str]) -> None:
    with pytest.raises(ValueError, match="expected one label per image and at least one"):
        contact_sheet(pictures, labels)


def test_a_contact_sheet_that_cannot_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="pass fewer images"):
        contact_sheet([picture()] * 4, [""] * 4, max_bytes=500)


def test_a_thumbnail_keeps_the_shape_and_has_the_source_size() -> None:
    small = thumbnail(picture(200, 100), 50)
    assert small is not None
    assert (small.source_width, small.source_height) == (200, 100)
    assert Image.open(io.BytesIO(small.jpeg)).size == (50, 25)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_thumbnail_is_made_of_any_format(kind: str) -> None:
    assert thumbnail(picture(kind=kind), 32) is not None


def test_a_file_that_is_not_an_image_has_no_thumbnail() -> None:
    assert thumbnail(b"no picture", 32) is None
