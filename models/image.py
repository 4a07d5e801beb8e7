"""Bytes of a picture -> uint8 [H, W, C]: the one decoder, so that training and serving see the same pixels.

What is decided here, once:
- transparency is laid over white, as browsers and printers show it;
- the whole picture is kept and nothing is stretched: it is fitted into H x W and the rest is filled
  with the median colour of its own border, so that a plain background simply goes on;
- a picture that already has the right size passes with its pixel values untouched;
- 16-bit values are scaled to 8 bits (v / 257), not clipped; of an animation the first frame is taken.
"""

import io
import re

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from models.errors import InputError

FORMATS = tuple(str(plugin.format) for plugin in (PngImageFile, JpegImageFile, WebPImageFile, BmpImageFile))
MAX_PIXELS = 16_000_000  # 16 megapixels: a phone's photograph; decoded, about 64 MB
MAX_TEXT = 1 << 18  # bytes of all texts in a PNG: a few compressed bytes can hold many
MAX_PROFILES = 8  # colour profiles in a PNG, which may have one; they are compressed too
WHITE = (255, 255, 255, 255)

# What people send in place of a picture, by its first bytes.
KINDS: tuple[tuple[str, str], ...] = (
    (r"\Z", "no bytes at all"),
    (r"(?i)\s*[a-z][a-z0-9+.-]*://", "an address; send the bytes of the picture, nothing is fetched"),
    (r"(?is)\s*(<\?xml.*?)?(<!--.*?-->\s*)*<svg", "SVG"),
    (r"(?i)\s*<(!doctype html|html)", "HTML"),
    (r"\s*<\?xml", "XML"),
    (r"GIF8", "GIF"),
    (r"II\*\0|MM\0\*", "TIFF"),
    (r"(?s)....ftyp(heic|heix|mif1)", "HEIC"),
    (r"(?s)....ftypavi", "AVIF"),
    (r"%PDF", "PDF"),
    (r"\x93NUMPY", "a NumPy array"),
    (r"PK\x03\x04", "a ZIP archive"),
    (r"\x1f\x8b", "gzip"),
    (r"\x80[\x02-\x05]", "a Python pickle"),
    (r"\x89PNG|\xff\xd8\xff|(?s:RIFF....WEBP)|BM", "a damaged picture"),
    (r"[\t\n\r -~]+\Z", "text"),
)


def decode(data: bytes, shape: tuple[int, ...], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture in `data` (PNG, JPEG, WebP or BMP, any mode) as uint8 [H, W, C], with `shape` = (H, W, 1 or 3).

    Raises InputError, naming what was found, for other formats, for damaged files and for pictures of
    more than `max_pixels` pixels, which are refused by their header, before anything is decoded.
    """
    return render(read_header(data, max_pixels), shape)


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first half of `decode`: format and size are known and allowed, no pixel is decoded. Raises InputError."""
    if data.count(b"iCCP") > MAX_PROFILES:
        raise InputError(f"not a picture: found {data.count(b'iCCP')} colour profiles; allowed: one")
    PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(f"the picture is too large: at most {max_pixels} pixels are allowed ({error})") from error
    except MemoryError:
        raise  # is no fault of the picture
    except Exception as error:  # Pillow's readers raise many types for damaged files
        if "MAX_TEXT" in str(error):
            raise InputError(f"the PNG holds more than {MAX_TEXT} bytes of texts, such as a title or XMP") from error
        raise InputError(f"not a picture: found {describe(data)}; allowed: {', '.join(FORMATS)}") from error
    if image.width * image.height > max_pixels:
        found = f"{image.width} x {image.height} pixels"
        raise InputError(f"the picture is too large: {found}, at most {max_pixels} pixels are allowed")
    return image


def render(image: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    """The second half of `decode`: the pixels as uint8 [H, W, C]. Raises InputError where the file is damaged."""
    height, width, channels = shape
    try:
        image.draft(image.mode, (2 * max(height, width),) * 2)  # a large JPEG is scaled while it is decoded
        ImageOps.exif_transpose(image, in_place=True)
        flat = _flatten(image, "L" if channels == 1 else "RGB")
        return _fit(flat, width, height).reshape(shape)
    except MemoryError:
        raise
    except Exception as error:  # and so do its decoders
        raise InputError(f"the {image.format} picture is damaged and cannot be decoded ({error})") from error


def describe(data: bytes) -> str:
    """What `data` is, in words, by its first bytes."""
    start = data[:256].decode("latin-1")
    for pattern, kind in KINDS:
        if re.match(pattern, start):
            return kind
    return f"unknown bytes beginning with 0x{data[:4].hex()}"


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """The picture without transparency, 8 bits a channel, in `mode` ("L" or "RGB")."""
    if image.mode.startswith("I"):  # 16-bit grey
        image = Image.fromarray(np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba)
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image.Image, width: int, height: int) -> np.ndarray:
    """The whole picture within uint8 [height, width] or [height, width, 3], centred, its background carried on."""
    if image.size == (width, height):
        return np.asarray(image)
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    inner = np.asarray(image.resize(size, Image.Resampling.HAMMING, reducing_gap=3.0))  # no halos
    fitted = np.empty((height, width, *inner.shape[2:]), np.uint8)
    fitted[:] = np.median(_border(inner), axis=0)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    fitted[top : top + size[1], left : left + size[0]] = inner
    return fitted


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost pixels of [H, W] or [H, W, 3] as [P] or [P, 3]."""
    return np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
