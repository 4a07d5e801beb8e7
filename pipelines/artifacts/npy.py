"""`.npy` files larger than memory: read as memory maps, written chunk by chunk."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.errors import InputError
from models.memory_map import release

CHUNK = 1 << 24  # bytes


def read(path: Path) -> NDArray[Any]:
    """A read-only memory map of `path`. Raises InputError where it is missing, truncated or not `.npy`."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; run `dvc repro`, which writes it") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a complete .npy file ({error}); delete it and run `dvc repro`") from error


def write(chunks: Iterable[NDArray[Any]], dtype: DTypeLike, shape: tuple[int, ...], path: Path) -> None:
    """Write `chunks` of an array of this `shape`. Raises OSError where the disk is full.

    Does not use a memory map: with one, a full disk ends the process with SIGBUS instead of an exception.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype).data)


def spans(array: NDArray[Any], count: int | None = None) -> Iterator[slice]:
    """Slices of about `CHUNK` bytes each that cover `count` rows of the size of those of `array`, by default all.

    Pages of a memory map are released after each slice.
    """
    stop = len(array) if count is None else count
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, stop, rows):
        yield slice(start, min(start + rows, stop))
        release(array)
