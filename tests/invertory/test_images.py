"""Images of every kind are decoded upright, in sRGB, 8 bits; broken files give a reason."""

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from invertory.images import BadImage, decode, encode, resize, to_tensor, to_uint8

RAMP = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))  # [48, 64]
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 40)], axis=2)


def file_of(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def status_of(data: bytes, **limits: int) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data, **limits)
    return caught.value.status


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels_back(format):
    decoded = decode(file_of(Image.fromarray(COLOUR), format))
    np.testing.assert_array_equal(decoded.pixels, COLOUR)
    assert (decoded.format, decoded.mode) == (format, "RGB")
    assert (decoded.width, decoded.height, decoded.orientation, decoded.num_frames) == (
        64,
        48,
        1,
        1,
    )


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_give_about_the_pixels_back(format):
    decoded = decode(file_of(Image.fromarray(COLOUR), format))
    assert np.abs(decoded.pixels.astype(int) - COLOUR).mean() < 4


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    decoded = decode(file_of(Image.fromarray(RAMP.astype(np.uint16) * 257), format))
    np.testing.assert_array_equal(decoded.pixels, np.stack([RAMP] * 3, axis=2))


def test_32_bit_integers_within_16_bits_are_scaled():
    data = file_of(Image.fromarray(RAMP.astype(np.int32) * 257), "TIFF")
    np.testing.assert_array_equal(decode(data).pixels[..., 0], RAMP)


@pytest.mark.parametrize("factor", [1 / 255, 1.0])
def test_float_images_are_scaled_by_the_range_they_use(factor):
    data = file_of(Image.fromarray(RAMP.astype(np.float32) * np.float32(factor)), "TIFF")
    np.testing.assert_array_equal(decode(data).pixels[..., 1], RAMP)


def test_float_images_of_another_range_are_stretched():
    data = file_of(Image.fromarray(RAMP.astype(np.float32) * 4 - 100), "TIFF")
    np.testing.assert_array_equal(decode(data).pixels[..., 1], RAMP)


def test_float_images_that_are_not_finite_are_refused():
    levels = RAMP.astype(np.float32)
    levels[0, 0] = np.nan
    assert status_of(file_of(Image.fromarray(levels), "TIFF")) == "decode_failed"


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb(mode):
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(Image.fromarray(COLOUR), srgb, lab, outputMode="LAB")
    else:
        image = Image.fromarray(COLOUR).convert(mode)
    decoded = decode(file_of(image, "TIFF"))
    expected = np.asarray(Image.fromarray(COLOUR).convert("L" if mode in "L1" else "RGB"))
    assert decoded.mode == mode
    difference = decoded.pixels.mean((0, 1)) - expected.mean((0, 1))
    assert np.abs(difference).max() < (12 if mode in "1P" else 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_lie_on_white(mode):
    alpha = np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)
    image = Image.fromarray(np.dstack([COLOUR, np.tile(alpha, (48, 1))])).convert(mode)
    decoded = decode(file_of(image, "PNG"))
    assert (decoded.pixels[:, :32] == 255).all()
    assert (decoded.pixels[:, 32:, 2] < 255).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(format, orientation):
    upright = Image.fromarray(COLOUR)
    stored = {  # the pixels that a camera stores for each orientation of the upright image
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = upright if stored is None else upright.transpose(stored)
    decoded = decode(file_of(image, format, exif=exif))
    assert decoded.orientation == orientation
    assert (decoded.width, decoded.height) == (64, 48)
    assert np.abs(decoded.pixels.astype(int) - COLOUR).mean() < 6


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read_and_all_are_counted(format):
    frames = [Image.fromarray(COLOUR), *(Image.new("RGB", (64, 48), c) for c in ("red", "blue"))]
    decoded = decode(file_of(frames[0], format, save_all=True, append_images=frames[1:]))
    assert decoded.num_frames == 3
    assert np.abs(decoded.pixels.astype(int) - COLOUR).mean() < 10


def test_an_embedded_profile_is_converted_to_srgb():
    lab_white = ImageCms.createProfile("XYZ")
    wrong_space = ImageCms.ImageCmsProfile(lab_white).tobytes()
    data = file_of(Image.fromarray(COLOUR), "PNG", icc_profile=wrong_space)
    # the profile does not fit and is ignored
    np.testing.assert_array_equal(decode(data).pixels, COLOUR)
    data = file_of(Image.fromarray(COLOUR), "PNG", icc_profile=_linear_profile())
    converted = decode(data).pixels.astype(int)
    expected = np.where(COLOUR / 255 <= 0.0031308, 12.92 * COLOUR / 255,
                        1.055 * (COLOUR / 255) ** (1 / 2.4) - 0.055) * 255  # fmt: skip
    assert np.abs(converted - expected).max() < 3


def _linear_profile() -> bytes:
    """The sRGB profile with its three tone curves replaced by gamma 1 (an empty `curv`)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data = data.replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
    for index in range(struct.unpack_from(">I", data, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * index)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            data[offset : offset + 12] = b"curv" + bytes(8)
    return bytes(data)


def test_an_empty_file_is_empty():
    assert status_of(b"") == "empty"


@pytest.mark.parametrize("data", [b"hello", b"RIFF\x10\0\0\0WAVEfmt ", b"\0" * 100, b"\xff" * 9])
def test_what_is_no_image_is_told(data):
    assert status_of(data) == "not_an_image"


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7 ...", b"8BPS" + bytes(40), b"\0\0\0\x18ftypheic", b"\n<svg xmlns=''/>"]
)
def test_known_formats_that_are_not_read_are_named(data):
    assert status_of(data) == "unsupported"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_is_truncated(format, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file_of(Image.fromarray(noise), format)
    assert status_of(data[: int(len(data) * share)]) == "truncated"


def test_a_png_with_broken_pixels_fails_although_its_exif_is_asked_for():
    data = file_of(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)), "PNG"
    )
    broken = data[:200] + bytes(500) + data[700:]
    assert status_of(broken) == "decode_failed"


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("size", [(10_000, 10_000), (2**31 - 1, 2**31 - 1), (60_000, 60_000)])
def test_a_gigantic_image_is_refused_by_its_header(size):
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    assert status_of(_png_header(*size) + end) == "too_large"


def test_limits_are_those_given():
    data = file_of(Image.fromarray(COLOUR), "PNG")
    assert status_of(data, max_pixels=64 * 48 - 1) == "too_large"
    assert status_of(data, min_px=49) == "too_small"
    assert decode(data, max_pixels=64 * 48, min_px=48).width == 64


def test_a_bomb_in_a_text_chunk_is_refused():
    text = b"zTXtk\0\0" + zlib.compress(bytes(64 * 2**20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    assert status_of(_png_header(64, 64) + chunk) == "too_large"


def test_no_warning_surfaces_and_pillow_keeps_its_settings():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        status_of(_png_header(10_000, 10_000), max_pixels=10**9)
    assert caught == []
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_threads_that_decode_side_by_side_leave_the_filters_of_warnings_alone():
    data = file_of(Image.fromarray(COLOUR), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            decoded = list(pool.map(lambda _: decode(data).pixels, range(200)))
        assert list(warnings.filters) == before
    assert all((pixels == COLOUR).all() for pixels in decoded)


def test_random_bytes_behind_a_magic_never_raise_anything_else():
    generator = np.random.default_rng(1)
    for magic in (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
    ):
        for length in (0, 10, 300):
            with pytest.raises(BadImage):
                decode(magic + generator.bytes(length), max_pixels=10**6)


def test_tensors_and_images_are_inverse():
    tensor = to_tensor([COLOUR, COLOUR[::-1]])
    assert tensor.shape == (2, 3, 48, 64) and tensor.dtype == torch.float32
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(tensor), np.stack([COLOUR, COLOUR[::-1]]))
    np.testing.assert_array_equal(to_uint8(to_tensor(COLOUR)[0]), COLOUR)


def test_values_beyond_the_range_are_clipped():
    assert to_uint8(torch.tensor([-3.0, 0.0, 3.0]).view(3, 1, 1)).ravel().tolist() == [0, 128, 255]


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match="expected uint8"):
        to_tensor(COLOUR.astype(np.float32))
    with pytest.raises(ValueError, match="expected \\[N, 3, H, W\\]"):
        to_uint8(torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_encoded_images_decode(format):
    decoded = decode(encode(COLOUR, format))
    assert np.abs(decoded.pixels.astype(int) - COLOUR).mean() < (0.1 if format == "png" else 4)


def test_resizing_keeps_the_mean():
    small = resize(COLOUR, 16, 12)
    assert small.shape == (12, 16, 3)
    assert np.abs(small.mean((0, 1)) - COLOUR.mean((0, 1))).max() < 1
