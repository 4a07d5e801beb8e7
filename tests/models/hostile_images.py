"""Small image files that are expensive to decode, or whose pixels are incomplete."""

import struct
import zlib
from collections.abc import Callable

PNG = b"\x89PNG\r\n\x1a\n"
SIGNATURE_OF_SVG = b"<!---->" * 36 + b"x"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*before: bytes, pixels: bytes | None = None, size: tuple[int, int] = (8, 8), interlaced: bool = False) -> bytes:
    """8-bit grey with chunks before the pixels; `pixels` is the compressed data, all rows by default."""
    width, height = size
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced))
    rows = zlib.compress(b"\0" * (height * (width + 1))) if pixels is None else pixels
    return PNG + header + b"".join(before) + chunk(b"IDAT", rows) + chunk(b"IEND")


def exif(*entries: bytes, content: bytes = b"") -> bytes:
    """A TIFF block: one directory with the orientation 6 and these entries, then content."""
    directory = [struct.pack("<HHII", 0x0112, 3, 1, 6), *entries]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(directory)) + b"".join(directory) + b"\0" * 4 + content


def png_of_many_rationals() -> bytes:
    count = 500_000
    entry = struct.pack("<HHII", 0x829A, 5, count, 8 + 2 + 24 + 4)
    return png(chunk(b"eXIf", exif(entry, content=b"\1\0\0\0\2\0\0\0" * count)))


def png_of_many_bad_tags() -> bytes:
    entries = (struct.pack("<HHII", tag, 7, 1 << 30, 0) for tag in range(0x0113, 0xFFFF))
    return png(chunk(b"eXIf", exif(*entries)))


def png_of_many_chunks() -> bytes:
    return png(chunk(b"prIv") * 349_000)


def png_of_inflated_rows() -> bytes:
    """4 MB that inflate to 4 GB of rows for 8 x 8 pixels."""
    compress = zlib.compressobj(9)
    start = compress.compress(b"\0") + compress.flush(zlib.Z_FULL_FLUSH)
    block = compress.compress(b"\0" * 1_000_000) + compress.flush(zlib.Z_FULL_FLUSH)  # the same each time
    return png(pixels=start + block * 3900)


def png_of_four_rows() -> bytes:
    return png(pixels=zlib.compress(b"\0\7\7\7\7\7\7\7\7" * 4))


def bmp(width: int, height: int, coding: int, pixels: bytes) -> bytes:
    palette = b"".join(bytes((value, 255 - value, value, 0)) for value in range(256))
    start = 54 + len(palette)
    header = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, coding, len(pixels), 0, 0, 256, 0)
    return b"BM" + header + palette + pixels


def bmp_of_runs_beyond_the_row() -> bytes:
    return bmp(8, 8, 1, b"\xff\x05" * 2_000_000)


def bmp_of_steps_of_nothing() -> bytes:
    return bmp(8, 8, 1, b"\0\2\0\0" * 1_000_000)


def bmp_of_one_long_row() -> bytes:
    return bmp(16_000_000, 1, 1, b"\1\5\0\0\0\1" + b"\0" * 96)


def bmp_of_many_short_rows() -> bytes:
    return bmp(4000, 4000, 1, b"\1\5\0\0" * 4000 + b"\0\1")


def jpeg_of_many_scans(width: int = 4000, height: int = 4000, scans: int = 13_000) -> bytes:
    """Progressive grey: each scan of 37 bytes visits all blocks, as it says that they hold nothing."""

    def segment(marker: int, content: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content

    blocks = -(-width // 8) * -(-height // 8)
    bits = ("0" + "1" * 14) * -(-blocks // 32_767)
    coded = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big").replace(b"\xff", b"\xff\0")
    start = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    start += segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    start += segment(0xC4, b"\0\1" + b"\0" * 15 + b"\0") + segment(0xDA, b"\1\1\0\0\0\0") + b"\0" * -(-blocks // 8)
    start += segment(0xC4, b"\x10\1" + b"\0" * 15 + b"\xe0")
    return start + (segment(0xDA, b"\1\1\0\1\1\0") + coded) * scans + b"\xff\xd9"


def jpeg_of_many_segments() -> bytes:
    return b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000


def jpeg_of_many_tables() -> bytes:
    table = b"\xff\xdb" + struct.pack(">H", 2 + 65 * 1000) + (b"\0" + b"\1" * 64) * 1000
    return b"\xff\xd8" + table * 60


def webp_of_many_chunks() -> bytes:
    content = b"WEBPVP8X\n\0\0\0" + b"\0" * 4 + b"\7\0\0\7\0\0" + b"XXXX\0\0\0\0" * 500_000
    return b"RIFF" + struct.pack("<I", len(content)) + content


def webp_of_a_huge_canvas() -> bytes:
    content = b"WEBPVP8X\n\0\0\0" + b"\2\0\0\0" + b"\xff\xff\xff\xff\0\0"
    return b"RIFF" + struct.pack("<I", len(content)) + content


# By name: the file, and the reason for which it is rejected, none if it is decoded.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "PNG of 500,000 EXIF rationals": (png_of_many_rationals, ""),
    "PNG of 65,000 bad EXIF tags": (png_of_many_bad_tags, ""),
    "PNG of 349,000 chunks": (png_of_many_chunks, "more than 4345 chunks"),
    "PNG of 4 GB of rows": (png_of_inflated_rows, "bytes of pixel data for 8 x 8 pixels; at most 4368 are allowed"),
    "PNG of 4 of 8 rows": (png_of_four_rows, "damaged and cannot be decoded .rows are missing."),
    "BMP of runs beyond the row": (bmp_of_runs_beyond_the_row, "for 8 x 8 pixels; at most 4256 are allowed"),
    "BMP of steps of nothing": (bmp_of_steps_of_nothing, "for 8 x 8 pixels; at most 4256 are allowed"),
    "BMP of 16,000,000 x 1": (bmp_of_one_long_row, "16000000 x 1 pixels, at most 65535 pixels a side"),
    "BMP of 4000 short rows": (bmp_of_many_short_rows, "4000 x 4000 pixels; at most 1000000 are allowed"),
    "JPEG of 13,000 scans": (jpeg_of_many_scans, "13001 scans; at most 100 are allowed"),
    "JPEG of 1,000,000 segments": (jpeg_of_many_segments, "more than 1000 segments"),
    "JPEG of 60,000 tables": (jpeg_of_many_tables, "not an image: found a damaged image"),
    "WebP of 500,000 chunks": (webp_of_many_chunks, "more than .* chunks"),
    "WebP of 65,536 x 65,536": (webp_of_a_huge_canvas, "not an image|too large"),
    "text that begins as SVG": (lambda: SIGNATURE_OF_SVG, "not an image: found text"),
}
