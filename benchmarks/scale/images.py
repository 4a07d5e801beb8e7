"""Generated images of ten classes as PNG files, one folder for each class: what `data.source: image_folder` reads."""

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

CLASSES = 10
SIDE = 28  # pixels
SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCK = 10_000  # images made at once


def write(folder: Path, count: int, processes: int) -> None:
    """Write `count` images, an equal number of each class; each number of images is the beginning of a larger one."""
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    with ProcessPoolExecutor(processes) as pool:
        for _ in pool.map(partial(_write_block, folder), *zip(*_blocks(count), strict=True)):
            pass


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    """First number and end of each block."""
    for start in range(0, count, BLOCK):
        yield start, min(start + BLOCK, count)


def _write_block(folder: Path, start: int, end: int) -> None:
    for number, pixels in enumerate(make(start, end - start), start):
        (folder / str(number % CLASSES) / f"{number:07}.png").write_bytes(png(pixels))


def make(start: int, count: int) -> np.ndarray:
    """Images uint8 [count, 28, 28]: a bright band at the place of the class, and noise."""
    images = np.random.default_rng(start).integers(0, 64, (count, SIDE, SIDE), np.uint8)
    for label in range(CLASSES):
        rows = slice((label - start) % CLASSES, None, CLASSES)
        images[rows, 2 * label + 3 : 2 * label + 7, 5:23] += 160
    return images


def png(pixels: np.ndarray) -> bytes:
    """A greyscale PNG file of pixels uint8 [H, W]; Pillow takes four times as long to write one."""
    height, width = pixels.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each line begins with the number of its filter: none
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(lines, 1), b"IEND")
    sized = ((len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks)
    return SIGNATURE + b"".join(sized)
