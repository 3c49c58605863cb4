"""Images in memory and on disk: decode files to upright 8-bit sRGB, convert to tensors, encode.

In memory an image is uint8 RGB [H, W, 3] or float32 RGB [N, 3, H, W] in [-1, 1]; on disk it is
uint8. Files are never trusted: the size is read from the header before anything is decoded,
Pillow's global settings are neither changed nor relied upon, and no warning reaches the caller.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

Pixels = npt.NDArray[np.uint8]
Reason = Literal[
    "empty", "not_an_image", "truncated", "too_large", "too_small", "unsupported", "decode_failed"
]

# Decoders that run no external program and read the size from the header.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
MAX_PIXELS: Final = 89_478_485  # 256 MiB of RGB, the size at which Pillow itself warns
ORIENTATION: Final = 0x0112  # EXIF tag
BACKGROUND: Final = (255, 255, 255)  # colour behind transparent pixels

_UNSUPPORTED: Final = {  # known formats that are not supported: (offset, magic) => name
    (0, b"8BPS"): "Photoshop",
    (0, b"%PDF"): "PDF",
    (0, b"%!PS"): "PostScript",
    (0, b"<svg"): "SVG",
    (4, b"ftyphei"): "HEIC",
    (4, b"ftypmif1"): "HEIF",
    (0, b"\0\0\1\0"): "ICO",
    (0, b"\x76\x2f\x31\x01"): "OpenEXR",
    (0, b"\xff\x0a"): "JPEG XL",
    (4, b"JXL "): "JPEG XL",
}
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


class BadImage(Exception):  # noqa: N818 - the name of what it is
    """A file that cannot be decoded; `status` is a value of the images table."""

    def __init__(self, status: Reason, reason: str) -> None:
        super().__init__(reason)
        self.status: Reason = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded file. `mode` and `format` are the file's; the size is that of the upright image."""

    pixels: Pixels  # [H, W, 3] uint8 sRGB, upright
    format: str
    mode: str  # Pillow's; also RGB for 16-bit RGB files, of which the upper byte is kept
    orientation: int  # EXIF, 1 to 8; 1 if the file has none
    num_frames: int

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, min_px: int = 1) -> DecodedImage:
    """Decode the first frame of an image file: upright, in sRGB, on white.

    `max_pixels` limits width x height, and `min_px` the shorter side; both are checked in the
    header. Pillow's own hard limit (twice its MAX_IMAGE_PIXELS) also applies. Threads may decode in
    parallel: Pillow releases Python's lock. Raises `BadImage` if the file cannot be decoded.
    """
    if not data:
        raise BadImage("empty", "the file has no bytes")
    with (
        _silence_warnings()
    ):  # decompression bombs and broken EXIF are handled here, without a warning
        try:
            image = _open(data)
            _check_size(image.size, max_pixels, min_px)
            return _read(image)
        except BadImage:
            raise
        except UnidentifiedImageError as error:
            raise _explain_unidentified(data) from error
        except Exception as error:  # a decoder may raise anything for a broken file
            raise _explain_failure(data, error) from error


def to_tensor(images: Pixels | Sequence[Pixels]) -> Tensor:
    """uint8 [H, W, 3] (or N of one size) => float32 [N, 3, H, W] in [-1, 1]; N is 1 for one.

    Raises `ValueError` for other shapes or dtypes.
    """
    batch = np.stack([images] if isinstance(images, np.ndarray) else list(images))
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 3] images, got {batch.dtype} {batch.shape[1:]}")
    return from_levels(torch.from_numpy(batch))


def from_levels(levels: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] => float32 [N, 3, H, W] in [-1, 1], on the same device."""
    return levels.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def to_uint8(images: Tensor) -> Pixels:
    """[N, 3, H, W] or [3, H, W] in [-1, 1] (clipped) => uint8 [N, H, W, 3] or [H, W, 3]."""
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        raise ValueError(f"expected [N, 3, H, W] or [3, H, W], got {list(images.shape)}")
    levels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()


def encode(
    image: Pixels,
    format: Literal["png", "jpeg", "webp"] = "png",
    *,
    quality: int = 95,
    compress_level: int = 6,
) -> bytes:
    """Encode uint8 [H, W, 3] => file bytes.

    `quality` applies to JPEG and WebP, `compress_level` to PNG, which is lossless at any level.
    Raises `ValueError` for an unknown format.
    """
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": compress_level},
        "jpeg": {"quality": quality, "subsampling": 0},
        "webp": {"quality": quality, "method": 4},
    }
    if format not in options:
        raise ValueError(f"expected a format among {sorted(options)}, got {format!r}")
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format.upper(), **options[format])
    return buffer.getvalue()


def resize(image: Pixels, width: int, height: int) -> Pixels:
    """Resize uint8 [H, W, 3] => [height, width, 3], antialiased (Lanczos)."""
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.array(resized)


_silenced = threading.Lock()
_silencing: list[warnings.catch_warnings[None]] = []  # one entry for each thread inside


@contextmanager
def _silence_warnings() -> Iterator[None]:
    """Silence warnings. Filters are process-wide, so the last thread to leave restores them."""
    with _silenced:
        if not _silencing:
            first = warnings.catch_warnings()
            first.__enter__()
            warnings.simplefilter("ignore")
        else:
            first = _silencing[0]
        _silencing.append(first)
    try:
        yield
    finally:
        with _silenced:
            _silencing.pop()
            if not _silencing:
                first.__exit__(None, None, None)


def _open(data: bytes) -> Image.Image:
    Image.init()  # a Pillow built without a library lacks its format
    return Image.open(BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


def _check_size(size: tuple[int, int], max_pixels: int, min_px: int) -> None:
    width, height = size
    if width * height > max_pixels:
        limit = f"{max_pixels} pixels are allowed"
        raise BadImage("too_large", f"{width}x{height} px according to the header; {limit}")
    if min(width, height) < min_px:
        raise BadImage(
            "too_small", f"{width}x{height} px; the shorter side must have at least {min_px}"
        )


def _read(image: Image.Image) -> DecodedImage:
    """Decode an opened file: read the first frame and count all frames."""
    file_format, mode = image.format or "", image.mode
    orientation = _orientation(image) if file_format == "TIFF" else 1  # load() rotates a TIFF
    image.load()
    # after the pixels: PNG finds its EXIF while decoding, which happens once
    if file_format != "TIFF":
        orientation = _orientation(image)
    pixels = np.array(_to_rgb(_upright(image)))
    return DecodedImage(pixels, file_format, mode, orientation, _num_frames(image))


def _num_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is complete, a later one is not
        return 1


def _orientation(image: Image.Image) -> int:
    try:
        value = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF: the image is read without rotation
        return 1
    return value if 1 <= value <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode => RGB in sRGB, with alpha blended over `BACKGROUND`."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_scale(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _convert_profile(image, ImageCms.ImageCmsProfile(lab)) or image.convert("L").convert(
            "RGB"
        )
    has_alpha = image.has_transparency_data
    if image.mode in ("1", "P", "PA", "LA", "La", "RGBa") or (has_alpha and image.mode != "RGBA"):
        image = _keep_profile(image, image.convert("RGBA" if has_alpha else "RGB"))
    if not has_alpha:
        return _to_srgb(image)
    alpha = image.getchannel("A")
    colour = _to_srgb(_keep_profile(image, image.convert("RGB")))
    return Image.composite(colour, Image.new("RGB", colour.size, BACKGROUND), alpha)


def _keep_profile(source: Image.Image, converted: Image.Image) -> Image.Image:
    converted.info["icc_profile"] = source.info.get("icc_profile")
    return converted


def _scale(values: npt.NDArray[Any]) -> Pixels:
    """Convert wide integers and floats => 8 bits, by scaling without clipping.

    Integers within 0..65535 count as 16-bit, floats within 0..1 as intensities and within 0..255 as
    8-bit levels. Any other range is stretched from its minimum to its maximum.
    """
    is_integer = values.dtype.kind in "iu"
    levels = values.astype(np.float64)
    if not np.isfinite(levels).all():
        raise BadImage("decode_failed", "the image has non-finite pixels")
    low, high = float(levels.min()), float(levels.max())
    top = 65535.0 if is_integer else 1.0 if high <= 1 else 255.0
    if low < 0 or high > top:
        levels, top = levels - low, high - low
    return np.rint(levels * (255 / top)).astype(np.uint8)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert with the embedded ICC profile if it is usable, else as Pillow converts."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in (source.profile.profile_description or ""):
            return image.convert("RGB")
    except Exception:  # not a profile
        return image.convert("RGB")
    return _convert_profile(image, source) or image.convert("RGB")


def _convert_profile(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image | None:
    """Convert `image` from `source` to sRGB; None if the profile does not fit the image's mode."""
    try:
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except Exception:  # a profile of another colour space, or a broken one
        return None


def _explain_unidentified(data: bytes) -> BadImage:
    """Report why no decoder accepted the file."""
    head = data.lstrip()[:64] if data[:1].isspace() else data[:64]
    for (offset, magic), name in _UNSUPPORTED.items():
        if head[offset : offset + len(magic)] == magic:
            return BadImage(
                "unsupported", f"{name} files are not supported; supported are {', '.join(FORMATS)}"
            )
    if not data.startswith(_MAGIC) or (data.startswith(b"RIFF") and data[8:12] != b"WEBP"):
        return BadImage("not_an_image", f"no image format starts with {data[:12]!r}")
    if _is_cut(data):
        return BadImage("truncated", f"the file ends within its header, after {len(data)} bytes")
    return BadImage("decode_failed", "the header is broken")


def _explain_failure(data: bytes, error: Exception) -> BadImage:
    """Report why the decoder failed."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, Image.DecompressionBombError) or "too large" in str(error):
        return BadImage("too_large", reason)
    if isinstance(error, EOFError) or "truncated" in str(error).lower() or _is_cut(data):
        return BadImage("truncated", reason)
    return BadImage("decode_failed", reason)


def _is_cut(data: bytes) -> bool:
    """Whether the end that the file's format requires is missing."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"GIF8"):
        return b"\x3b" not in data[-16:]
    if data.startswith(b"RIFF"):
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return False
