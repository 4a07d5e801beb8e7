"""Small PNGs of the most usual kind have the pixels and errors that Pillow finds in the whole file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.images import image
from models.images.structure import Structure, read_structure

SHAPE = (12, 10, 1)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    colour: int = 0, filters: bytes = bytes(range(5)), rows: int = 12, methods: bytes = b"\0\0\0", depth: int = 8
) -> bytes:
    """A PNG of noise, 10 wide and 12 high, whose rows have these filters in turn."""
    width = 10 * {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    lines = [bytes([filters[row % len(filters)]]) + PIXELS.tobytes()[row : row + width] for row in range(rows)]
    header = struct.pack(">IIBB", 10, 12, depth, colour) + methods
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def saved(mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return saved("L", exif=exif.tobytes())


def outcome(data: bytes) -> bytes | str:
    """The pixels, or the error."""
    try:
        return image.decode(data, SHAPE).tobytes()
    except InputError as error:
        return str(error)


PLAIN = [saved("L"), saved("RGB"), png(), png(2), png(filters=b"\0"), turned(), png(rows=13), png() + b"end"]
DAMAGED_CHECKSUM = png()[:29] + b"\0\0\0\0" + png()[33:]
SPLIT = png().replace(png()[33:-12], chunk(b"IDAT", png()[41:50]) + chunk(b"IDAT", png()[50:-16]))
OTHERS = [
    saved("P"), saved("LA"), saved("RGBA"), saved("1"), saved("L", transparency=7), png(depth=16), png(4),
    png(rows=11), png(rows=0), png(filters=b"\0\7"), png(methods=b"\0\0\1"), png(methods=b"\0\1\0"),
    png()[:-12], png()[:-20], png()[:45], DAMAGED_CHECKSUM, SPLIT, png()[:50] + b"\xff\xff" + png()[52:],
    png()[:-18] + b"\0\0" + png()[-16:],
]  # fmt: skip


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each decoded file was a plain one."""
    found: list[bool] = []
    load = image._load_plain

    def record(structure: Structure) -> Image.Image | None:
        loaded = load(structure)
        found.append(loaded is not None)
        return loaded

    monkeypatch.setattr(image, "_load_plain", record)
    return found


@pytest.mark.parametrize("data", PLAIN + OTHERS)
def test_pixels_and_errors_are_those_of_the_whole_file(
    data: bytes, plain: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = outcome(data)
    assert plain == [data in PLAIN]
    monkeypatch.setattr(image, "_load_plain", lambda _: None)
    assert outcome(data) == own


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("data", [png(), png(filters=b"\0\7"), png(rows=13), png()[:-20]])
def test_no_memory_of_the_decoder_is_lost(data: bytes) -> None:
    """`Image.frombytes` does not clean up after data that end early: zlib's 40 kB each, here 80 MB."""
    structure = read_structure(data, 1000)
    assert structure
    for _ in range(100):
        image._load_plain(structure)
    before = int(Path("/proc/self/statm").read_text().split()[1])
    for _ in range(2000):
        image._load_plain(structure)
    assert int(Path("/proc/self/statm").read_text().split()[1]) - before < 2000  # pages of 4 kB
