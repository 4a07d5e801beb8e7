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
from pipelines import npy, paths
from pipelines.staging import naming

MAX_BYTES = 1 << 28  # of one file, compressed: more than the decoder's largest picture takes uncompressed
MOST_WORKERS = 16  # each may hold a picture of the decoder's largest size, some 100 MB


@dataclass(frozen=True)
class Decoded:
    """`images` uint8 [M, H, W, C], a memory map without a name; `reasons` by the number of each file left out."""

    images: NDArray[np.uint8]
    reasons: dict[int, str]


def decode(files: Sequence[Path], shape: tuple[int, int, int]) -> Decoded:
    """All `files` in their order as pictures of `shape` (H, W, C). Raises OSError where the disk is full.

    In threads, as Pillow decodes without holding up the others. Written to a file that the system
    removes by itself; not through the memory map: there a full disk is a signal that ends the process.
    """
    paths.DATA.mkdir(parents=True, exist_ok=True)
    reasons: dict[int, str] = {}
    with naming(paths.DATA), tempfile.TemporaryFile(dir=paths.DATA) as file:
        for number, result in enumerate(_results(files, shape)):
            if isinstance(result, str):
                reasons[number] = result
            else:
                file.write(result.data)
        file.flush()
        count = len(files) - len(reasons)
        images = np.memmap(file, np.uint8, "r", shape=(count, *shape)) if count else np.empty((0, *shape), np.uint8)
    return Decoded(images, reasons)


def _results(files: Sequence[Path], shape: tuple[int, int, int]) -> Iterator[NDArray[np.uint8] | str]:
    """Pixels, or why there are none; at most about `npy.CHUNK` bytes wait to be written."""
    workers = min(joblib.cpu_count(), MOST_WORKERS)
    group = max(workers, npy.CHUNK // (shape[0] * shape[1] * shape[2]))
    bar = tqdm(total=len(files), unit=" pictures", desc="decoding", disable=not sys.stderr.isatty())
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool, bar:
        warnings.simplefilter("ignore")  # of Pillow about odd files; those that do not decode are told
        for start in range(0, len(files), group):
            for result in pool.map(partial(_decode, shape=shape), files[start : start + group]):
                bar.update()
                yield result


def _decode(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | str:
    try:
        return np.ascontiguousarray(image.decode(_bytes(path), shape))
    except InputError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _bytes(path: Path) -> bytes:
    """The file's content. A pipe would never end, and what is larger than any picture is not read."""
    if not path.is_file():
        raise InputError("not a file" if path.exists() else "a link that leads nowhere")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"{size} bytes; allowed: at most {MAX_BYTES}")
    return path.read_bytes()
