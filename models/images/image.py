"""Decoding of image files to uint8 [H, W, C], shared by training and serving so that both see the same pixels.

- Transparency is composited over white, as browsers and printers do.
- The whole image is scaled to fit into H x W with its aspect ratio; the rest is filled with the median colour of its
  border, which continues a plain background.
- The pixels of an image of the right size are not changed.
- 16-bit values are scaled to 8 bits (v / 257), not clipped. Of an animation the first frame is decoded.
- Of the metadata only the orientation is used.
"""

import io
import re
import struct

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from models.errors import InputError
from models.images.structure import Structure, StructureError, has_all_rows, plain_png, read_structure

PLUGINS: dict[str, type[ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
}
MAX_PIXELS = 16_000_000  # a photograph of a phone; about 64 MB decoded
SMALL_BYTES = 16_384  # of pixel data, which is inflated a second time faster than its last row is copied
STRIP_PIXELS = 1 << 18  # that are flattened at a time
WHITE = (255, 255, 255, 255)

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Types of rejected files by their first bytes. Every pattern takes time linear in them.
FILE_TYPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\Z"), "no bytes at all"),
    (re.compile(r"(?i)\s*[a-z][a-z0-9+.-]*://"), "an address; send the bytes of the image, nothing is fetched"),
    (re.compile(r"(?is)\s*<(?:svg|(?:\?xml|!--).*?<svg)"), "SVG"),
    (re.compile(r"(?i)\s*<(!doctype html|html)"), "HTML"),
    (re.compile(r"\s*<\?xml"), "XML"),
    (re.compile(r"GIF8"), "GIF"),
    (re.compile(r"II\*\0|MM\0\*"), "TIFF"),
    (re.compile(r"(?s)....ftyp(heic|heix|mif1)"), "HEIC"),
    (re.compile(r"(?s)....ftypavi"), "AVIF"),
    (re.compile(r"%PDF"), "PDF"),
    (re.compile(r"\x93NUMPY"), "a NumPy array"),
    (re.compile(r"PK\x03\x04"), "a ZIP archive"),
    (re.compile(r"\x1f\x8b"), "gzip"),
    (re.compile(r"\x80[\x02-\x05]"), "a Python pickle"),
    (re.compile(r"(?s)\x89PNG|\xff\xd8\xff|RIFF....WEBP|BM"), "a damaged image"),
    (re.compile(r"[\t\n\r -~]+\Z"), "text"),
)


def decode(data: bytes, shape: tuple[int, ...], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The image in `data` (PNG, JPEG, WebP or BMP, any mode) as uint8 [H, W, C], with `shape` = (H, W, 1 or 3).

    Raises InputError for other formats, for damaged files and for files beyond a limit, such as `max_pixels`, which are
    rejected by their structure, before anything is decoded.
    """
    return render(read_header(data, max_pixels), shape)


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Structure:
    """The first half of `decode`: the file's structure, within all limits. Raises InputError."""
    try:
        structure = read_structure(data, max_pixels)
    except (StructureError, struct.error, IndexError, KeyError):
        structure = None
    if not structure:
        raise InputError(f"not an image: found {identify(data)}; allowed: {', '.join(PLUGINS)}")
    return structure


def render(structure: Structure, shape: tuple[int, ...]) -> np.ndarray:
    """The second half of `decode`: the pixels as uint8 [H, W, C]. Raises InputError if the file is damaged."""
    height, width, channels = shape
    try:
        image = _load(structure, 2 * max(height, width))
        flat = _flatten(image, "L" if channels == 1 else "RGB")
        return _fit(flat, width, height).reshape(shape)
    except MemoryError:
        raise  # not caused by the image
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise InputError(f"the {structure.format} image is damaged and cannot be decoded ({error})") from error


def identify(data: bytes) -> str:
    """The type of a file in words, by its first bytes."""
    start = data[:256].decode("latin-1")
    for pattern, file_type in FILE_TYPES:
        if pattern.match(start):
            return file_type
    return f"unknown bytes beginning with 0x{data[:4].hex()}"


def _load(structure: Structure, side: int) -> Image.Image:
    """The decoded first frame, upright; a large JPEG is scaled by its decoder to at least `side` pixels."""
    image = _load_plain(structure) or _load_file(structure, side)
    turn = ORIENTATIONS.get(structure.orientation)
    return image if turn is None else image.transpose(turn)


def _load_plain(structure: Structure) -> Image.Image | None:
    """The pixels of a small PNG by Pillow's decoder alone, as reading the file would take twice as long: 17 us.

    None for other files and for damaged ones, of which `_load_file` has the error.
    """
    if structure.format != "PNG" or structure.raw_bytes > SMALL_BYTES or not (plain := plain_png(structure)):
        return None
    mode, pixels = plain
    try:
        return Image.frombytes(mode, (structure.width, structure.height), pixels, "zip", mode)
    except ValueError:
        return None


def _load_file(structure: Structure, side: int) -> Image.Image:
    """The decoded first frame as it is in the file."""
    image: Image.Image = PLUGINS[structure.format](io.BytesIO(structure.data))
    if image.size != (structure.width, structure.height):
        raise StructureError("its headers contradict each other")
    image.draft(image.mode, (side, side))
    image.load()
    if structure.format == "PNG" and not _has_all_rows(image, structure):
        raise StructureError("rows are missing")
    if structure.is_deep_rgb and "transparency" in image.info:
        image.putalpha(_opaque(image, structure))
    return image


def _has_all_rows(image: Image.Image, structure: Structure) -> bool:
    """True of a complete PNG. Missing rows stay 0: only if the last row of a large one is 0 are all rows counted."""
    if structure.raw_bytes > SMALL_BYTES and "interlace" not in image.info:
        last_row = image.crop((0, image.height - 1, image.width, image.height))
        if any(last_row.tobytes()):
            return True
    return has_all_rows(structure)


def _opaque(image: Image.Image, structure: Structure) -> Image.Image:
    """255, or 0 for the transparent colour of a PNG in RGB with 16 bits, of which `image` has the high bytes."""
    low = PngImageFile(io.BytesIO(structure.data))
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # the second byte of each value, here the low one
    low.load()
    high_bytes, low_bytes = np.array(image.info["transparency"], ">u2").view(np.uint8).reshape(3, 2).T
    opaque, rows = Image.new("L", image.size), max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        differs = (np.asarray(image.crop(box)) != high_bytes) | (np.asarray(low.crop(box)) != low_bytes)
        red, green, blue = np.moveaxis(differs, 2, 0)
        opaque.paste(Image.fromarray(red | green | blue), box)
    return opaque


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """The image without transparency, 8 bits a channel, in `mode` ("L" or "RGB"); in strips to save memory."""
    if image.mode == mode and not image.has_transparency_data:
        return image
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return _flatten_strip(image, mode)
    flat = Image.new(mode, image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        flat.paste(_flatten_strip(strip, mode), (0, top))
    return flat


def _flatten_strip(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        values, transparent = np.asarray(image), image.info.get("transparency")
        grey = np.rint(values.clip(0, 65535) / 257).astype(np.uint8)
        if transparent is not None:
            grey[values == transparent] = 255
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba)
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image.Image, width: int, height: int) -> np.ndarray:
    """The whole image, centred, the rest filled: uint8 [height, width], [height, width, 3] or the same values flat."""
    if image.size == (width, height):
        return np.frombuffer(image.tobytes(), np.uint8)
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
