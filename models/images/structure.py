"""Structure of PNG, JPEG, WebP and BMP files, checked before any pixel is decoded.

The headers are walked once, in time linear in the bytes. Chunks, scans and bytes are limited relative to the
pixels, so that the time of decoding is known from the structure. Metadata other than the orientation and frames
after the first are left out, so that no library parses them.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from models.errors import InputError
from models.images import metadata

MAX_SIDE = 65_535  # pixels, as in JPEG
MAX_TEXT = 1 << 18  # bytes of all texts in a PNG: a few compressed bytes can hold many
MAX_PROFILES = 8  # colour profiles in a PNG, which may have one; they are compressed too
MAX_SEGMENTS = 1000  # before the first scan of a JPEG; of 64 kB each
MAX_TABLES = 32_768  # bytes of the segments that decoding needs, before the first scan of a JPEG: usually 600
MAX_SCANS = 100  # of a JPEG; progressive ones have 10 to 20, each of which visits all pixels: 1.5 ms at 16 megapixels
MAX_RLE_PIXELS = 1_000_000  # run-length coded BMPs are decoded by Python code
BLOCK = 65_536
SPARE_BYTES = 65_536  # of pixel data that an image of any size may have

PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
PNG_HEADER = b"\0\0\0\rIHDR"
PNG_PLAIN = {b"\x08\0\0\0\0": "L", b"\x08\x02\0\0\0": "RGB"}  # modes by depth, colour type and the three methods
PNG_DEEP_RGB = b"\x10\x02"  # depth and colour type
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_KEPT = {*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE}  # frames and tables, JFIF's and Adobe's segment
JPEG_STANDALONE = {0x01, *range(0xD0, 0xDA)}
WEBP_KEPT = {b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"ANMF"}
WEBP_FLAGS = 0x12  # transparency and animation; not profile, EXIF and XMP
BMP_HEADERS = {40, 52, 56, 64, 108, 124}
BMP_RUN_LENGTHS = {1, 2}


class StructureError(ValueError):
    """The file is damaged."""


class Structure(NamedTuple):
    """A checked file of `format`: `data` is reduced to what the pixels of the first frame need.

    `orientation` is that of EXIF (1 to 8); `cost` estimates the nanoseconds that decoding takes on one core.
    `raw_bytes` is the size of a PNG's pixel data before compression.
    """

    format: str
    width: int
    height: int
    data: bytes
    cost: int
    orientation: int = 1
    raw_bytes: int = 0

    @property
    def is_deep_rgb(self) -> bool:
        """True of a PNG in RGB with 16 bits a channel."""
        return self.format == "PNG" and self.data[24:26] == PNG_DEEP_RGB


def read_structure(data: bytes, max_pixels: int) -> Structure | None:
    """The structure of the file, None for other formats.

    Raises InputError if it is larger than a limit allows, StructureError, struct.error, IndexError or KeyError if it
    is damaged.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data, max_pixels)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data, max_pixels)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data, max_pixels)
    return _bmp(data, max_pixels) if data.startswith(b"BM") else None


def has_all_rows(structure: Structure) -> bool:
    """True if a PNG's compressed data holds every row; inflated in parts of at most 1 MB."""
    inflate, missing = zlib.decompressobj(), structure.raw_bytes
    for block in _png_blocks(structure.data):
        while missing > 0 and (part := inflate.decompress(block, BLOCK << 4)):
            missing, block = missing - len(part), inflate.unconsumed_tail  # noqa: PLW2901
    return missing <= 0


def plain_png(structure: Structure) -> tuple[str, bytes] | None:
    """Pillow's mode and the compressed pixel data of a small PNG of the most usual kind, None for other files.

    It has grey or RGB with 8 bits a channel, a valid header, and all rows in the one chunk between header and end.
    """
    data, mode = structure.data, PNG_PLAIN.get(structure.data[24:29])
    if not mode or data[8:16] != PNG_HEADER or data[37:41] != b"IDAT":
        return None
    length, checksum = int.from_bytes(data[33:37], "big"), int.from_bytes(data[29:33], "big")
    pixels, end = data[41 : 41 + length], data[45 + length : 53 + length]
    if end != b"\0\0\0\0IEND" or zlib.crc32(data[12:29]) != checksum:
        return None
    try:
        complete = len(zlib.decompressobj().decompress(pixels, BLOCK << 4)) >= structure.raw_bytes
    except zlib.error:
        return None
    return (mode, pixels) if complete else None


def _require_size(width: int, height: int, max_pixels: int) -> None:
    """Raises InputError for an image that is too large, StructureError for one without pixels."""
    if width < 1 or height < 1:
        raise StructureError
    size = f"the image is too large: {width} x {height} pixels"
    if width * height > max_pixels:
        raise InputError(f"{size}, at most {max_pixels} pixels are allowed")
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{size}, at most {MAX_SIDE} pixels a side are allowed")


def _require_bytes(name: str, count: int, width: int, height: int, allowed: int) -> None:
    """Raises InputError for more coded bytes than the pixels can need."""
    if count > allowed:
        size = f"the {name} has {count} bytes of pixel data for {width} x {height} pixels"
        raise InputError(f"{size}; at most {allowed} are allowed")


def _png(data: bytes, max_pixels: int) -> Structure:
    """PNG, third edition (W3C, 2025)."""
    if data[12:16] != b"IHDR":
        raise StructureError
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    _require_size(width, height, max_pixels)
    raw = _png_raw_bytes(width, height, depth * PNG_CHANNELS[colour], interlaced)
    orientation = 1
    if chunks := _png_metadata_chunks(data):
        orientation = metadata.orientation(*_png_metadata([(k, data[a + 8 : b - 4]) for k, a, b in chunks]))
        data = _without(data, chunks)
    _require_bytes("PNG", len(data), width, height, 2 * raw + 16 * height + 4096)
    cost = 40_000 + 4 * raw + 10 * width * height
    if data[24:26] == PNG_DEEP_RGB and any(kind == b"tRNS" for kind, *_ in _png_chunks(data)):
        cost *= 2  # decoded once for the high bytes and once for the low ones
    return Structure("PNG", width, height, data, cost, orientation, raw)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk (length, kind, content, checksum) up to IEND or the end of the file."""
    start, kind = 8, b""
    while kind != b"IEND" and start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data) and kind not in (b"IDAT", b"IEND"):
            raise StructureError
        yield kind, start, end
        start = end


def _png_blocks(data: bytes) -> Iterator[bytes]:
    """The compressed pixel data in parts of at most 64 kB."""
    for kind, start, end in _png_chunks(data):
        if kind == b"IDAT":
            yield from (data[place : min(place + BLOCK, end - 4)] for place in range(start + 8, end - 4, BLOCK))


def _png_metadata_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """The chunks that the pixels do not need. Raises InputError for too many chunks."""
    limit, chunks = 256 + len(data) // 1024, []
    for number, (kind, start, end) in enumerate(_png_chunks(data)):
        if number >= limit:
            raise InputError(f"the PNG has more than {limit} chunks, the most that {len(data)} bytes may have")
        if kind not in PNG_KEPT or (start == 8) != (kind == b"IHDR"):
            chunks.append((kind, start, end))
    return chunks


def _without(data: bytes, parts: list[tuple[bytes, int, int]]) -> bytes:
    """The file without these parts."""
    view, starts = memoryview(data), [0, *(end for _, _, end in parts)]
    ends = [*(start for _, start, _ in parts), len(data)]
    return b"".join(view[start:end] for start, end in zip(starts, ends, strict=True))


def _png_raw_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of the filtered rows, of all passes if interlaced, with `bits` a pixel."""
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in PNG_PASSES)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _png_metadata(chunks: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The EXIF and XMP blocks. Raises InputError for too much text and too many profiles."""
    if (profiles := sum(kind == b"iCCP" for kind, _ in chunks)) > MAX_PROFILES:
        raise InputError(f"not an image: found {profiles} colour profiles; allowed: one")
    texts, left = {}, MAX_TEXT
    for kind, content in chunks:
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, text = _png_text(kind, content, left)
            left -= len(text)
            texts[key] = text
            if left < 0:
                raise InputError(f"the PNG holds more than {MAX_TEXT} bytes of texts, such as a title or XMP")
    exif = dict(chunks).get(b"eXIf") or metadata.raw_profile(texts.get(b"Raw profile type exif", b""))
    return exif, texts.get(b"XML:com.adobe.xmp", b"")


def _png_text(kind: bytes, content: bytes, left: int) -> tuple[bytes, bytes]:
    """Key and text of a text chunk; of a compressed text at most `left` + 1 bytes, nothing if it is damaged."""
    key, _, text = content.partition(b"\0")
    compressed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]
    elif kind == b"zTXt":
        text = text[1:]
    try:
        return key, zlib.decompressobj().decompress(text, left + 1) if compressed else text
    except zlib.error:
        return key, b""


def _jpeg(data: bytes, max_pixels: int) -> Structure:
    """ITU-T T.81, annex B. What follows the first scan is passed on as it is, up to the end of the image."""
    view, kept, exif, xmp, size = memoryview(data), [memoryview(data)[:2]], b"", b"", (0, 0)
    for code, start, end in _jpeg_segments(data):
        content = data[start + 4 : end]
        if code in JPEG_KEPT:
            kept.append(view[start:end])
        if code in JPEG_FRAMES:
            if size != (0, 0):
                raise StructureError
            height, width = size = struct.unpack_from(">HH", content, 1)
            _require_size(width, height, max_pixels)
        elif code == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif code == 0xE1 and content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = content
    if sum(map(len, kept)) > MAX_TABLES:
        raise InputError(f"the JPEG has more than {MAX_TABLES} bytes of tables, the most that are allowed")
    height, width = size
    _require_size(width, height, max_pixels)
    scans, stop = _jpeg_scans(data, start)
    _require_bytes("JPEG", stop - start, width, height, 32 * width * height + SPARE_BYTES)
    kept.append(view[start:stop])
    cost = 40_000 + (4 + scans // 3) * width * height + 15 * (stop - start)
    return Structure("JPEG", width, height, b"".join(kept), cost, metadata.orientation(exif, xmp))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to and with the first scan's header."""
    end, code = 2, 0
    for _ in range(MAX_SEGMENTS):
        match = JPEG_MARKER.search(data, end)
        if not match:
            raise StructureError
        start, code = match.start(), data[match.start() + 1]
        end = start + 2
        if code not in JPEG_STANDALONE:
            end += struct.unpack_from(">H", data, end)[0]
            yield code, start, end
        if code == 0xDA:
            return
    raise InputError(f"the JPEG has more than {MAX_SEGMENTS} segments, the most that are allowed")


def _jpeg_scans(data: bytes, start: int) -> tuple[int, int]:
    """The number of scans, and where the image ends. Raises InputError for too many scans.

    In coded data FF is followed by 00 or a restart marker, so the two bytes of other markers can be counted.
    """
    stop = data.find(b"\xff\xd9", start) + 2
    stop = stop if stop > 1 else len(data)
    scans = data.count(b"\xff\xda", start, stop)
    if scans > MAX_SCANS:
        raise InputError(f"the JPEG has {scans} scans; at most {MAX_SCANS} are allowed")
    return scans, stop


def _webp(data: bytes, max_pixels: int) -> Structure:
    """RFC 9649. Of an animation the first frame is kept."""
    width, height = _webp_size(data)
    _require_size(width, height, max_pixels)
    parts: dict[bytes, bytes] = {}
    start, number, limit, dropped = 12, 0, 256 + len(data) // 1024, False
    while start + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, start)
        end = start + 8 + length + length % 2
        if start + 8 + length > len(data):
            raise StructureError
        dropped = dropped or kind in parts or kind not in WEBP_KEPT
        parts.setdefault(kind, data[start:end])
        start, number = end, number + 1
        if number > limit:
            raise InputError(f"the WebP has more than {limit} chunks, the most that {len(data)} bytes may have")
    orientation = metadata.orientation(parts.get(b"EXIF", b"")[8:], parts.get(b"XMP ", b"")[8:])
    kept = _webp_file(parts) if dropped else data
    _require_bytes("WebP", len(kept), width, height, 32 * width * height + SPARE_BYTES)
    return Structure("WEBP", width, height, kept, 60_000 + 25 * width * height + 15 * len(kept), orientation)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas, by the first chunk."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind != b"VP8 ":
        raise StructureError
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _webp_file(parts: dict[bytes, bytes]) -> bytes:
    """A file of the first chunk of each kind that the pixels need."""
    kept = {kind: part for kind, part in parts.items() if kind in WEBP_KEPT}
    if extended := kept.get(b"VP8X"):
        kept[b"VP8X"] = extended[:8] + bytes([extended[8] & WEBP_FLAGS]) + extended[9:]
    content = b"WEBP" + b"".join(kept.values())
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _bmp(data: bytes, max_pixels: int) -> Structure:
    """BITMAPCOREHEADER, or BITMAPINFOHEADER and its successors (Windows GDI)."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        coding = colours = 0
    elif header in BMP_HEADERS:
        width, height, _, depth, coding = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
    else:
        raise StructureError
    height = abs(height)
    _require_size(width, height, max_pixels)
    if depth <= 8 and colours > 256:
        raise StructureError
    cost = 8
    if coding in BMP_RUN_LENGTHS:
        if width * height > MAX_RLE_PIXELS:
            size = f"the run-length coded BMP has {width} x {height} pixels"
            raise InputError(f"{size}; at most {MAX_RLE_PIXELS} are allowed")
        _require_bytes("BMP", len(data), width, height, 2 * width * height + 4 * height + 4096)
        cost = 600
    return Structure("BMP", width, height, data, 60_000 + cost * width * height)
