"""Files whose size and SHA-256 are known in advance and verified while they are read."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class PinnedFile:
    """A file `name` with its `size` in bytes and `sha256`.

    `gzipped`: size and hash are those of the unpacked content, so that differently compressed and uncompressed
    copies are valid as well.
    """

    name: str
    size: int
    sha256: str
    gzipped: bool


def read(path: Path, pinned: PinnedFile) -> NDArray[np.uint8]:
    """The content of `path`, uint8 [pinned.size]. Raises InputError if it is not the pinned content."""
    content = bytearray()
    for block in _blocks(path, pinned):
        content += block
    return np.frombuffer(content, np.uint8)


def verify(path: Path, pinned: PinnedFile) -> None:
    """Raise InputError if `path` does not have the pinned content."""
    for _ in _blocks(path, pinned):
        pass


def _blocks(path: Path, pinned: PinnedFile) -> Iterator[bytes]:
    """The content in blocks; unpacks at most one block beyond the pinned size."""
    digest, size = hashlib.sha256(), 0
    try:
        with _open(path, pinned.gzipped) as file:
            while size <= pinned.size and (block := file.read(BLOCK)):
                digest.update(block)
                size += len(block)
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: broken gzip data after {size} bytes ({error}); allowed: a complete file") from error
    _compare(path, pinned, size, digest.hexdigest())


def _open(path: Path, gzipped: bool) -> BinaryIO:
    """Detects gzip by the first two bytes, because partial downloads have a different suffix."""
    with path.open("rb") as file:
        compressed = gzipped and file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _compare(path: Path, pinned: PinnedFile, size: int, sha256: str) -> None:
    if size != pinned.size:
        actual = f"more than {pinned.size}" if size > pinned.size else str(size)
        raise InputError(f"{path}: {actual} bytes of content; allowed: {pinned.size}")
    if sha256 != pinned.sha256:
        raise InputError(f"{path}: wrong checksum: SHA-256 {sha256} of the content; allowed: {pinned.sha256}")
