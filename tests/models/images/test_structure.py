"""Structure of image files: limits, orientation, completeness; and that only the pixels are left of a file."""

import io
import re
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.errors import InputError
from models.images import image
from models.images import structure as image_structure
from tests.models.hostile_images import HOSTILE, chunk, exif, jpeg_of_many_scans, png
from tests.models.images.test_image import encode

GREY = (8, 8, 1)
XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
RAMP = np.arange(0, 128, 2, dtype=np.uint8).reshape(8, 8)


def text_chunk(key: str, text: str, **options: Any) -> PngInfo:
    info = PngInfo()
    (info.add_itxt if "meta" in text else info.add_text)(key, text, **options)
    return info


def raw_profile() -> str:
    block = b"Exif\0\0" + exif()
    return f"\nexif\n{len(block):8}\n{block[:20].hex()}\n{block[20:].hex()}\n"


def turned() -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = 6
    block[0x010F] = "a camera"
    return block


TURNED: dict[str, Callable[[], bytes]] = {
    "EXIF in PNG": lambda: encode(Image.fromarray(RAMP), exif=turned()),
    "EXIF in JPEG": lambda: encode(Image.fromarray(RAMP), "JPEG", quality=100, exif=turned()),
    "EXIF in WebP": lambda: encode(Image.fromarray(RAMP), "WEBP", lossless=True, exif=turned()),
    "XMP in PNG": lambda: encode(Image.fromarray(RAMP), pnginfo=text_chunk("XML:com.adobe.xmp", XMP)),
    "compressed XMP in PNG": lambda: encode(
        Image.fromarray(RAMP), pnginfo=text_chunk("XML:com.adobe.xmp", XMP, zip=True)
    ),
    "XMP in JPEG": lambda: encode(Image.fromarray(RAMP), "JPEG", quality=100, xmp=XMP.encode()),
    "XMP in WebP": lambda: encode(Image.fromarray(RAMP), "WEBP", lossless=True, xmp=XMP.encode()),
    "raw profile in PNG": lambda: encode(
        Image.fromarray(RAMP), pnginfo=text_chunk("Raw profile type exif", raw_profile(), zip=True)
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_the_orientation_is_applied_wherever_it_is(name: str) -> None:
    pixels = image.decode(TURNED[name](), GREY)[..., 0]
    assert np.abs(pixels.astype(int) - np.rot90(RAMP, -1)).max() <= 3


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_every_orientation_is_that_of_pillow(orientation: int, order: str, kind: int) -> None:
    from PIL import ImageOps

    value = struct.pack(order + ("HH" if kind == 3 else "I"), *(orientation, 0)[: 2 if kind == 3 else 1])
    directory = struct.pack(order + "HHHI", 1, 0x0112, kind, 1) + value + b"\0" * 4
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + directory
    data = encode(Image.fromarray(RAMP), exif=block)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(image.decode(data, GREY)[..., 0], expected)


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", b"XX" + exif()[2:], exif()[:15]])
def test_damaged_exif_is_ignored(block: bytes) -> None:
    np.testing.assert_array_equal(image.decode(png(chunk(b"eXIf", block)), GREY), 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_metadata_is_not_passed_to_the_decoder(kind: str) -> None:
    more: dict[str, Any] = {"exif": turned(), "icc_profile": b"a profile" * 100}
    if kind == "PNG":
        more["pnginfo"] = text_chunk("Title", "a title")
    else:
        more["xmp"] = XMP.encode()
    data = encode(Image.fromarray(RAMP), kind, **more)
    kept = image.read_header(data).data
    assert len(kept) < len(data) - 100
    for word in (b"camera", b"profile", b"xmpmeta", b"title"):
        assert word not in kept
    assert set(Image.open(io.BytesIO(kept)).info) <= {
        *("jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background")
    }


def test_of_an_animation_the_first_frame_is_passed_on() -> None:
    frames = [Image.fromarray(RAMP + value) for value in range(20)]
    for kind in ("PNG", "WEBP"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        kept = image.read_header(data).data
        assert len(kept) < len(data) / 4
        assert getattr(Image.open(io.BytesIO(kept)), "n_frames", 1) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_little_time(name: str) -> None:
    make, reason = HOSTILE[name]
    data, times = make(), []
    for _ in range(3):  # a busy machine slows one of them down
        started = time.thread_time()
        try:
            image.decode(data, GREY)
            message = ""
        except InputError as error:
            message = str(error)
        times.append(time.thread_time() - started)
        if times[-1] < 0.25:
            break
    assert min(times) < 0.25
    assert bool(message) == bool(reason)
    assert re.search(reason, message), message


@pytest.mark.parametrize("size", [(8, 8), (300, 300), (9000, 3)])
@pytest.mark.parametrize("interlaced", [True, False])
@pytest.mark.parametrize("missing", [1, 9, 301])
def test_every_row_of_a_png_is_required(size: tuple[int, int], interlaced: bool, missing: int) -> None:
    width, height = size
    raw = image.read_header(png(size=size, pixels=b"", interlaced=interlaced)).raw_bytes
    assert interlaced or raw == height * (width + 1)
    whole = png(size=size, pixels=zlib.compress(b"\0" * raw), interlaced=interlaced)
    assert image.decode(whole, GREY).max() == 0
    cut = png(size=size, pixels=zlib.compress(b"\0" * (max(0, raw - missing))), interlaced=interlaced)
    with pytest.raises(InputError, match=r"rows are missing|is truncated"):
        image.decode(cut, GREY)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("fill", [0, 255])
def test_complete_pngs_of_all_modes_are_accepted(mode: str, fill: int) -> None:
    """The size of the pixel data is computed as PNG defines it; where the last row is black all rows are counted."""
    values = np.full((200, 301), fill, np.uint16 if mode == "I;16" else np.uint8)
    made = Image.fromarray(values) if mode == "I;16" else Image.fromarray(values).convert("RGBA").convert(mode)
    data = encode(made)
    assert image.decode(data, GREY).shape == GREY
    structure = image.read_header(data)
    inflated = zlib.decompress(b"".join(image_structure._png_blocks(structure.data)))
    assert len(inflated) == structure.raw_bytes


def test_pixel_data_in_many_parts_is_counted() -> None:
    rows = zlib.compress(np.random.default_rng(0).integers(0, 9, (400, 400), np.uint8).tobytes() + b"\0" * 400)
    parts = [rows[start : start + 1000] for start in range(0, len(rows), 1000)]
    data = png(*[chunk(b"IDAT", part) for part in parts], pixels=b"", size=(399, 401))
    structure = image.read_header(data)
    assert image_structure.has_all_rows(structure)
    assert not image_structure.has_all_rows(structure._replace(raw_bytes=structure.raw_bytes + 1))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_ordinary_progressive_jpegs_are_accepted(mode: str) -> None:
    photo = Image.effect_noise((640, 480), 50).convert("RGB").convert(mode)
    structure = image.read_header(encode(photo, "JPEG", progressive=True))
    assert image.render(structure, GREY).shape == GREY


def test_scans_are_limited() -> None:
    assert image.decode(jpeg_of_many_scans(64, 64, 99), GREY).shape == GREY
    with pytest.raises(InputError, match="101 scans; at most 100 are allowed"):
        image.decode(jpeg_of_many_scans(64, 64, 100), GREY)


def test_a_thumbnail_is_no_scan() -> None:
    """A JPEG's EXIF block holds a JPEG of its own, here one with many scans."""
    whole = encode(Image.fromarray(RAMP), "JPEG")
    block = b"Exif\0\0" + exif(content=jpeg_of_many_scans(8, 8, 500)[:60_000])
    data = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]
    assert image.read_header(data).orientation == 6
    assert image.decode(data, GREY).shape == GREY


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_metadata_that_is_cut_off_is_damage(kind: str) -> None:
    data = encode(Image.fromarray(RAMP), kind, exif=turned())
    end = data.index(b"a camera") + 4
    with pytest.raises(InputError, match="damaged"):
        image.decode(data[:end], GREY)


def test_two_headers_in_one_file() -> None:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    assert image.decode(png(second), GREY).shape == GREY
    jpeg = encode(Image.fromarray(RAMP), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    with pytest.raises(InputError, match="damaged"):
        image.decode(jpeg[:frame] + jpeg[frame : frame + 13] + jpeg[frame:], GREY)


def test_large_images_are_flattened_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    files = [
        encode(Image.fromarray(generator.integers(0, 256, (60, 70, 4), np.uint8))),
        encode(Image.fromarray(generator.integers(0, 65536, (60, 70)).astype(np.uint16))),
        encode(Image.effect_noise((70, 60), 90).quantize(20), transparency=bytes(range(20))),
        encode(Image.effect_noise((70, 60), 90).convert("CMYK"), "JPEG"),
    ]
    shapes = [(60, 70, 3), (60, 70, 1), (20, 30, 3)]
    whole = [image.decode(data, shape) for data in files for shape in shapes]
    monkeypatch.setattr(image, "STRIP_PIXELS", 500)
    strips = [image.decode(data, shape) for data in files for shape in shapes]
    for first, second in zip(whole, strips, strict=True):
        np.testing.assert_array_equal(first, second)
