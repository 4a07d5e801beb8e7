"""Files of pictures to one array on the disk, by the decoder that the service uses; larger than memory."""

import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import image
from models.errors import InputError
from models.image_structure import Structure
from pipelines.artifacts import npy, paths
from pipelines.artifacts.atomic import naming

MAX_BYTES = 1 << 28  # of one file, compressed: more than a picture of 16 megapixels takes uncompressed
PIXEL_BYTES = 16  # and so for larger ones: 16 bits a channel and transparency take 8
MOST_WORKERS = 16  # each may hold a picture of the decoder's own limit, some 100 MB; of larger ones, fewer do
PILLOW_LIMIT = 178_956_970  # pixels, beyond which Pillow refuses a picture itself


@dataclass(frozen=True)
class Decoded:
    """`images` uint8 [M, H, W, C], a memory map without a name; `reasons` by the number of each file left out."""

    images: NDArray[np.uint8]
    reasons: dict[int, str]


def decode(files: Sequence[Path], shape: tuple[int, int, int], max_pixels: int = image.MAX_PIXELS) -> Decoded:
    """All `files` in their order as pictures of `shape` (H, W, C). Raises OSError where the disk is full.

    Those of more than `max_pixels` are left out, and the reason says how to allow them. In threads, as Pillow
    decodes without holding up the others. Written to a file that the system removes by itself; not through the
    memory map: there a full disk is a signal that ends the process.
    """
    paths.DATA.mkdir(parents=True, exist_ok=True)
    reasons: dict[int, str] = {}
    with naming(paths.DATA), tempfile.TemporaryFile(dir=paths.DATA) as file:
        for number, result in enumerate(_results(files, shape, max_pixels)):
            if isinstance(result, str):
                reasons[number] = result
            else:
                file.write(result.data)
        file.flush()
        count = len(files) - len(reasons)
        images = np.memmap(file, np.uint8, "r", shape=(count, *shape)) if count else np.empty((0, *shape), np.uint8)
    return Decoded(images, reasons)


def _results(files: Sequence[Path], shape: tuple[int, int, int], max_pixels: int) -> Iterator[NDArray[np.uint8] | str]:
    """Pixels, or why there are none; at most about `npy.CHUNK` bytes wait to be written."""
    workers = min(joblib.cpu_count(), MOST_WORKERS, max(1, MOST_WORKERS * image.MAX_PIXELS // max_pixels))
    group = max(workers, npy.CHUNK // (shape[0] * shape[1] * shape[2]))
    bar = tqdm(total=len(files), unit=" pictures", desc="decoding", disable=not sys.stderr.isatty())
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool, bar:
        warnings.simplefilter("ignore")  # of Pillow about odd files; those that do not decode are told
        for start in range(0, len(files), group):
            for result in pool.map(partial(_decode, shape, max_pixels), files[start : start + group]):
                bar.update()
                yield result


def _decode(shape: tuple[int, int, int], max_pixels: int, path: Path) -> NDArray[np.uint8] | str:
    try:
        return np.ascontiguousarray(image.render(_open(path, max_pixels), shape))
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _open(path: Path, max_pixels: int) -> Structure:
    """The checked file, nothing of it decoded yet. Raises InputError for what is none, or is too large."""
    picture = image.read_header(_bytes(path, max(MAX_BYTES, PIXEL_BYTES * max_pixels)), PILLOW_LIMIT)
    if picture.width * picture.height > max_pixels:
        found = f"{picture.width} x {picture.height} pixels"
        raise InputError(f"the picture is too large: {found}; allowed: at most {max_pixels}, set by data.max_pixels")
    return picture


def _bytes(path: Path, most: int) -> bytes:
    """The file's content. A pipe would never end, and what is larger than any picture is not read."""
    if not path.is_file():
        raise InputError("not a file" if path.exists() else "a link that leads nowhere")
    if (size := path.stat().st_size) > most:
        raise InputError(f"{size} bytes; allowed: at most {most}")
    return path.read_bytes()
