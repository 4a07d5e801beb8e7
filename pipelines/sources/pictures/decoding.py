"""Decodes image files with the decoder of the service into one array on disk, which may exceed the memory."""

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

from models.errors import InputError
from models.images import image
from models.images.structure import Structure
from pipelines.artifacts import npy, paths
from pipelines.artifacts.atomic import naming
from pipelines.config.params import PILLOW_LIMIT

MAX_BYTES = 1 << 28  # of one file: more than 16 megapixels take uncompressed
MAX_BYTES_PER_PIXEL = 16  # of files whose pixels exceed 16 megapixels; 16 bits a channel with transparency take 8
MAX_WORKERS = 16  # each holds about 100 MB for an image of 16 megapixels; fewer decode larger images


@dataclass(frozen=True)
class Decoded:
    """`images` uint8 [M, H, W, C], a memory map of an unnamed file; `reasons` by the index of each omitted file."""

    images: NDArray[np.uint8]
    reasons: dict[int, str]


def decode(files: Sequence[Path], shape: tuple[int, int, int], max_pixels: int = image.MAX_PIXELS) -> Decoded:
    """All `files` in their order as images of `shape` (H, W, C). Raises OSError if the disk is full.

    Images of more than `max_pixels` pixels are omitted, and the reason names the parameter. Threads decode, as Pillow
    releases the interpreter lock. The array is written to an unnamed file, not through the memory map, because there a
    full disk ends the process by a signal.
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
    """Pixels or the reason for omitting the file; at most about `npy.CHUNK` bytes wait to be written."""
    workers = min(joblib.cpu_count(), MAX_WORKERS, max(1, MAX_WORKERS * image.MAX_PIXELS // max_pixels))
    group = max(workers, npy.CHUNK // (shape[0] * shape[1] * shape[2]))
    bar = tqdm(total=len(files), unit=" pictures", desc="decoding", disable=not sys.stderr.isatty())
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool, bar:
        warnings.simplefilter("ignore")  # of Pillow; files that cannot be decoded are reported
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
    """The structure of the file. Raises InputError if it is not an image or too large."""
    structure = image.read_header(_bytes(path, max(MAX_BYTES, MAX_BYTES_PER_PIXEL * max_pixels)), PILLOW_LIMIT)
    if structure.width * structure.height > max_pixels:
        size = f"{structure.width} x {structure.height} pixels"
        raise InputError(f"the image is too large: {size}; allowed: at most {max_pixels}, set by data.max_pixels")
    return structure


def _bytes(path: Path, most: int) -> bytes:
    """The file's content. Raises InputError for pipes, broken links and files of more than `most` bytes."""
    if not path.is_file():
        raise InputError("not a file" if path.exists() else "a link that leads nowhere")
    if (size := path.stat().st_size) > most:
        raise InputError(f"{size} bytes; allowed: at most {most}")
    return path.read_bytes()
