"""Folders of sample images in every mode, format and size, with system files and unreadable files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (20, 40, 220), "green": (20, 200, 40), "red": (220, 30, 30)}


def square(colour: tuple[int, int, int], seed: int) -> Image.Image:
    """A noisy rectangle of one colour on white, of random size."""
    random = np.random.default_rng(seed)
    height, width = random.integers(20, 60, 2)
    pixels = np.full((height, width, 3), 250, np.uint8)
    inside = np.array(colour) + random.integers(-15, 16, (height - 8, width - 8, 3))
    pixels[4:-4, 4:-4] = inside.clip(0, 255)
    return Image.fromarray(pixels)


def _sixteen_bits(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))


def _rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(path.with_suffix(".jpg"), exif=exif)


# Functions that write an image, by its kind.
KINDS: dict[str, Callable[[Image.Image, Path], None]] = {
    "plain": lambda image, path: image.save(path.with_suffix(".png")),
    "jpeg": lambda image, path: image.save(path.with_suffix(".jpeg")),
    "webp": lambda image, path: image.save(path.with_suffix(".webp")),
    "bmp": lambda image, path: image.save(path.with_suffix(".BMP")),
    "palette": lambda image, path: image.quantize(16).save(path.with_suffix(".png")),
    "alpha": lambda image, path: image.convert("RGBA").save(path.with_suffix(".png")),
    "cmyk": lambda image, path: image.convert("CMYK").save(path.with_suffix(".jpg")),
    "sixteen-bits": _sixteen_bits,
    "rotated": _rotated,
}


def write(root: Path, each: int = 2) -> Path:
    """Three classes with `each` images of every kind; returns `root`."""
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True)
        for number, (kind, save) in enumerate(KINDS.items()):
            for copy in range(each):
                save(square(colour, 100 * number + copy), root / label / f"{kind}-{copy}")
    return root


def add_system_files(root: Path) -> None:
    """Hidden files, files of operating systems and other files that are not images."""
    for name in (".DS_Store", "Thumbs.db", ".hidden.png", "notes.txt"):
        (root / "red" / name).write_text("not an image")
    (root / "__MACOSX").mkdir()
    (root / ".thumbnails").mkdir()
    (root / "list.csv").write_text("a,b\n")


def add_unreadable(root: Path) -> list[str]:
    """Files with the suffix of an image that cannot be decoded; their paths under `root`, in order."""
    (root / "blue" / "text.png").write_text("once upon a time")
    whole = (root / "blue" / "plain-0.png").read_bytes()
    (root / "green" / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (5000, 4000)).save(root / "green" / "large.png")
    (root / "red" / "empty.jpg").touch()
    (root / "red" / "gone.png").symlink_to("nowhere.png")
    (root / "red" / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "red" / "pipe.png")
    names = ("blue/text.png", "green/cut.png", "green/large.png")
    return [*names, *(f"red/{name}" for name in ("empty.jpg", "gone.png", "loop.png", "pipe.png"))]
