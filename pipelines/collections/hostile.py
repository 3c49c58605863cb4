"""A folder of troublesome files, as real collections contain them, and their expected statuses."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from invertory.resources.entries import encode

Write = Callable[[Image.Image, Path], None]
ORIENTATION: Final = 0x0112  # EXIF tag
SIZE_PX: Final = 640  # side of the copies of the photograph


def write_hostile(folder: Path, photograph: Path) -> dict[str, str]:
    """Write the files and return the expected status by escaped file name.

    The status is that of `images`, or that of the rejects of `aligned` if the image is valid but
    has no usable face. `photograph` shows one face; the valid variants are made from it and are
    "ok". Names are escaped as in a URI.
    """
    folder.mkdir(parents=True, exist_ok=True)
    face = Image.open(photograph).convert("RGB")
    face.thumbnail((SIZE_PX, SIZE_PX))
    for name, write in _VALID.items():
        write(face, folder / name)
    for name, data in _broken_files(folder).items():
        (folder / name).write_bytes(data)
    _no_face().save(folder / "no_face.png")
    names = dict.fromkeys(_VALID, "ok") | dict(_BROKEN) | {"no_face.png": "no_face"}
    return names | _odd_names(folder) | _links(folder)


def escape_name(name: bytes) -> str:
    """Return a file name as it is written in a URI."""
    return encode(os.fsdecode(name))


def _wide_grey(face: Image.Image, path: Path) -> None:
    levels = np.asarray(face.convert("L"), np.uint16) * 257  # 0..65535
    Image.fromarray(levels).save(path)


def _float_grey(face: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(face.convert("L"), np.float32) / 255).save(path)


def _transparent(face: Image.Image, path: Path) -> None:
    image = face.convert("RGBA")
    alpha = np.full(image.size[::-1], 255, np.uint8)
    alpha[:, : image.width // 16] = 0
    image.putalpha(Image.fromarray(alpha))
    image.save(path)


def _rotated(face: Image.Image, path: Path) -> None:
    """Stored on its side; EXIF orientation 6 means a quarter turn clockwise."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    face.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def _animated(face: Image.Image, path: Path) -> None:
    frames = [face.rotate(angle) for angle in (3, 6)]
    face.save(path, save_all=True, append_images=frames, duration=100)


def _profiled(face: Image.Image, path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    face.save(path, icc_profile=profile.tobytes(), quality=95)


def _save(mode: str = "RGB", **options: Any) -> Write:
    return lambda face, path: face.convert(mode).save(path, **options)


_VALID: Final[dict[str, Write]] = {
    "sound.jpg": _save(quality=95),
    "sixteen_bit.png": _wide_grey,
    "float.tiff": _float_grey,
    "cmyk.jpg": _save("CMYK", quality=95),
    "palette.png": _save("P"),
    "grey_alpha.png": _save("LA"),
    "transparent.png": _transparent,
    "rotated.jpg": _rotated,
    "animated.gif": _animated,
    "animated.webp": _animated,
    "profiled.jpg": _profiled,
    "wrong_suffix.png": _save(format="JPEG", quality=93),
    "NO_SUFFIX": _save(format="PNG"),
    "with spaces, and (brackets).jpg": _save(quality=94),
}
_BROKEN: Final = {
    "empty.jpg": "empty",
    "text.png": "not_an_image",
    "truncated.jpg": "truncated",
    "truncated.png": "truncated",
    "header_only.jpg": "truncated",
    "gigantic.png": "too_large",
    "inflating_text.png": "too_large",
    "tiny.png": "too_small",
    "document.pdf": "unsupported",
    "photo.heic": "unsupported",
    "corrupt.png": "decode_failed",
}


def _broken_files(folder: Path) -> dict[str, bytes]:
    jpeg, png = (folder / "sound.jpg").read_bytes(), (folder / "NO_SUFFIX").read_bytes()
    data = {
        "empty.jpg": b"",
        "text.png": b"This is not a picture, whatever its name says.\n",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "header_only.jpg": jpeg[:64],
        "gigantic.png": _png_chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        ),
        "inflating_text.png": _inflating_text(),
        "tiny.png": _png_of(Image.new("RGB", (8, 8))),
        "document.pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "corrupt.png": png[:200] + bytes(2000) + png[2200:],
    }
    return {name: data[name] for name in _BROKEN}


def _png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _inflating_text() -> bytes:
    """64 MiB of text in 64 KiB: a decompression bomb outside the pixels."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    text = b"Comment\0\0" + zlib.compress(bytes(64 * 2**20), 9)
    pixels = zlib.compress(bytes(64 * (64 * 3 + 1)))
    return _png_chunks((b"IHDR", header), (b"zTXt", text), (b"IDAT", pixels))


def _png_of(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _no_face() -> Image.Image:
    """A gradient without a face."""
    ramp = np.linspace(0, 255, SIZE_PX, dtype=np.uint8)
    return Image.fromarray(np.stack([np.tile(ramp, (SIZE_PX, 1))] * 3, axis=2))


def _odd_names(folder: Path) -> dict[str, str]:
    """File names with special characters; each file encodes the photograph differently."""
    names = (b"new\nline.jpg", b"not utf-8 \xff\xfe.jpg", "naïve 笑.jpg".encode(), b"100%.jpg")
    statuses = {}
    for quality, name in enumerate(names, start=85):
        with Image.open(folder / "sound.jpg") as face:
            face.save(folder / os.fsdecode(name), quality=quality)
        statuses[escape_name(name)] = "ok"
    shutil.copyfile(folder / "sound.jpg", folder / "the same again.jpg")
    return statuses | {"the same again.jpg": "duplicate"}


def _links(folder: Path) -> dict[str, str]:
    """Files that are listed but cannot be read by any user."""
    for name, target in (("dangling.jpg", "nowhere.jpg"), ("circular.jpg", "circular.jpg")):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return {"dangling.jpg": "vanished", "circular.jpg": "unreadable"}
