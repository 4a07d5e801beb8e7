"""SHA-256 of arrays and files, in hexadecimal, and digests of examples."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.npy import spans


def hash_arrays(arrays: Mapping[str, NDArray[Any]], text: str = "") -> str:
    """SHA-256 over `text` and each array's name, dtype, shape and bytes, in the given order."""
    digest = hashlib.sha256(text.encode())
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        for span in spans(array):
            digest.update(np.ascontiguousarray(array[span]).data)
    return digest.hexdigest()


def digests(examples: NDArray[Any], size: int) -> list[bytes]:
    """A BLAKE2b digest of `size` bytes of each example [N, ...], equal for equal examples."""
    return [
        hashlib.blake2b(np.ascontiguousarray(example).data, digest_size=size).digest()
        for span in spans(examples)
        for example in examples[span]
    ]


def hash_files(files: Sequence[Path]) -> str:
    """One SHA-256 over the bytes of `files` in this order."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def require_sha256(path: Path, sha256: str) -> None:
    """Raise InputError where the file is missing or its SHA-256 is not `sha256`, as recorded by the parity check."""
    if not path.is_file():
        raise InputError(f"{path}: not found; run `dvc repro`")
    if (actual := hash_files([path])) != sha256:
        raise InputError(f"{path}: SHA-256 is {actual}; parity was checked for {sha256}; run `dvc repro`")
