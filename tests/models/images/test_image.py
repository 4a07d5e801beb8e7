"""The one decoder: formats, modes, orientation, transparency, aspect ratio and what is refused."""

import io
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from models.errors import InputError
from models.images.image import decode, identify, read_header
from tests.models.hostile_images import PNG, chunk

GREY = (8, 8, 1)
COLOUR = (8, 8, 3)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def ramp() -> np.ndarray:
    return np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    body = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", body), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b)) for t, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_pictures_of_the_right_size_pass_untouched(ramp: np.ndarray, kind: str) -> None:
    data = encode(Image.fromarray(ramp), kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = decode(data, GREY)
    assert pixels.dtype == np.uint8
    assert pixels.shape == GREY
    np.testing.assert_array_equal(pixels[..., 0], ramp)


def test_jpeg_is_close(ramp: np.ndarray) -> None:
    pixels = decode(encode(Image.fromarray(ramp), "JPEG", quality=98), GREY)
    assert np.abs(pixels[..., 0].astype(int) - ramp).max() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_any_mode_of_a_white_picture_is_white(mode: str, shape: tuple[int, ...]) -> None:
    if mode == "CMYK":
        data = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    elif mode == "I;16":
        data = encode(Image.fromarray(np.full((8, 8), 65535, np.uint16)))
    else:
        white = Image.new("RGBA", (8, 8), (255, 255, 255, 255))
        data = encode(white.convert("P" if mode == "PA" else mode))
    pixels = decode(data, shape)
    assert pixels.shape == shape
    assert pixels.min() >= 254


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = decode(encode(Image.fromarray(values)), GREY)
    np.testing.assert_array_equal(pixels[..., 0], np.rint(values / 257).astype(np.uint8))


def test_transparency_is_laid_over_white() -> None:
    half = decode(encode(Image.new("RGBA", (8, 8), (255, 0, 0, 128))), COLOUR)
    np.testing.assert_allclose(half[0, 0], [255, 127, 127], atol=1)
    assert decode(encode(Image.new("LA", (8, 8), (0, 0))), GREY).min() == 255


def test_a_palette_with_a_transparent_colour_is_laid_over_white() -> None:
    data = encode(Image.new("P", (8, 8), 0), transparency=0)
    assert decode(data, COLOUR).min() == 255


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_transparent_colour_of_16_bit_grey_is_laid_over_white(shape: tuple[int, ...]) -> None:
    values = np.full((8, 8), 30_001, np.uint16)  # the same as 30,000 in 8 bits
    values[2, 3] = 30_000
    pixels = decode(encode(Image.fromarray(values), transparency=30_000), shape)
    assert (pixels[2, 3] == 255).all()
    assert np.argwhere(pixels[..., 0] != 117).tolist() == [[2, 3]]


def deep_rgb_png(values: np.ndarray, transparent: tuple[int, ...]) -> bytes:
    """A PNG in RGB with 16 bits a channel and a transparent colour, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    colour = chunk(b"tRNS", struct.pack(">3H", *transparent))
    return PNG + header + colour + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


@pytest.mark.parametrize("side", [8, 600])  # one strip, several strips
def test_the_transparent_colour_of_16_bit_rgb_is_laid_over_white(side: int) -> None:
    values = np.full((side, side, 3), (257, 30_001, 65_535), np.uint16)  # the same as the colour in 8 bits
    values[-2, 3] = 257, 30_000, 65_535
    pixels = decode(deep_rgb_png(values, (257, 30_000, 65_535)), values.shape)
    assert pixels[-2, 3].tolist() == [255, 255, 255]
    assert np.argwhere((pixels != (1, 117, 255)).any(axis=2)).tolist() == [[side - 2, 3]]


def test_the_second_decoding_for_a_transparent_colour_is_part_of_the_cost() -> None:
    values = np.zeros((8, 8, 3), np.uint16)
    transparent = deep_rgb_png(values, (0, 0, 0))
    opaque = transparent.replace(chunk(b"tRNS", b"\0" * 6), b"")
    assert read_header(transparent).cost == 2 * read_header(opaque).cost


def test_exif_orientation_is_applied(ramp: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    pixels = decode(encode(Image.fromarray(ramp), exif=exif), GREY)
    np.testing.assert_array_equal(pixels[..., 0], np.rot90(ramp, -1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (value, value, value)) for value in (200, 10)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_allclose(decode(data, GREY), 200, atol=1)


def test_a_wide_picture_is_fitted_whole_and_its_background_goes_on() -> None:
    wide = np.full((20, 40), 30, np.uint8)
    wide[5:15, 2:38] = 220
    pixels = decode(encode(Image.fromarray(wide)), (20, 20, 1))[..., 0]
    assert (pixels[:5] == 30).all()
    assert (pixels[15:] == 30).all()
    columns = (pixels[9] > 128).nonzero()[0]
    assert columns[0] <= 2
    assert columns[-1] >= 17


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 7), (999, 998)])
def test_every_size_is_resized(size: tuple[int, int]) -> None:
    assert (decode(encode(Image.new("L", size, 77)), COLOUR) == 77).all()


def test_a_large_jpeg_is_scaled_in_the_decoder() -> None:
    image = Image.new("RGB", (2000, 1000), (10, 200, 30))
    assert np.abs(decode(encode(image, "JPEG"), (32, 32, 3)).astype(int) - [10, 200, 30]).max() < 6


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no bytes"),
        (b"hello", "text"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<svg/>", "SVG"),
        (b"<!DOCTYPE html><html/>", "HTML"),
        (b"http://example.com/a.png", "an address"),
        (b"file:///etc/passwd", "an address"),
        (b"GIF89a...", "GIF"),
        (b"%PDF-1.7", "PDF"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"\x93NUMPY\x01", "NumPy"),
        (b"\x00\x01\x02\x03\x04", "0x00010203"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, found: str) -> None:
    with pytest.raises(InputError, match=found):
        decode(data, GREY)


def test_a_tiff_is_refused_though_pillow_could_read_it() -> None:
    with pytest.raises(InputError, match="TIFF"):
        decode(encode(Image.new("L", (8, 8)), "TIFF"), GREY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(InputError):
        decode(data[: int(len(data) * share)], GREY)


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 12_000), (5_000, 4_000), (100_000, 1_000_000)])
def test_bombs_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match="16000000 pixels"):
        decode(png_header(*size), GREY)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_png_with_too_much_text_is_refused_by_the_limit() -> None:
    text = PngInfo()
    text.add_text("XML:com.adobe.xmp", "x" * 300_000, zip=True)
    with pytest.raises(InputError, match="more than 262144 bytes of texts"):
        decode(encode(Image.new("L", (8, 8)), pnginfo=text), GREY)


def test_the_limit_is_an_argument() -> None:
    with pytest.raises(InputError, match="9 x 9 pixels, at most 80"):
        decode(encode(Image.new("L", (9, 9))), GREY, max_pixels=80)


@pytest.mark.parametrize(("times", "owner", "name"), [(1, Image, "frombytes"), (40, PngImageFile, "load")])
def test_too_little_memory_is_no_fault_of_the_picture(
    ramp: np.ndarray, monkeypatch: pytest.MonkeyPatch, times: int, owner: object, name: str
) -> None:
    """Of a small one and of a larger one."""

    def refuse(*_: object) -> None:
        raise MemoryError

    data = encode(Image.fromarray(np.tile(ramp, (times, times))))
    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(MemoryError):
        decode(data, GREY)


def test_damaged_bytes_never_raise_anything_else(ramp: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "BMP"):
        good = np.frombuffer(encode(Image.fromarray(ramp), kind), np.uint8)
        for _ in range(100):
            bad = good.copy()
            bad[generator.integers(0, len(bad), 3)] = generator.integers(0, 256, 3)
            try:
                assert decode(bad.tobytes(), GREY).shape == GREY
            except InputError:
                continue


def test_a_pickle_is_identified_without_loading_it(tmp_path: Path) -> None:
    assert identify(pickle.dumps([tmp_path])) == "a Python pickle"
