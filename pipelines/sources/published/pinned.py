"""A published file whose content is known in advance, and checked while it is read."""

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
class Pinned:
    """`size` in bytes and `sha256` describe the content.

    `packed`: the content is what gzip unpacks, so that copies which were compressed again, or not
    at all, are equal. Otherwise the content is the file itself.
    """

    name: str
    size: int
    sha256: str
    packed: bool


def read(path: Path, pinned: Pinned) -> NDArray[np.uint8]:
    """The content of `path`, uint8 [pinned.size]. Raises InputError where it is not the pinned one."""
    content = bytearray()
    for block in _blocks(path, pinned):
        content += block
    return np.frombuffer(content, np.uint8)


def verify(path: Path, pinned: Pinned) -> None:
    """Read `path` without keeping it. Raises InputError where it is not the pinned content."""
    for _ in _blocks(path, pinned):
        pass


def _blocks(path: Path, pinned: Pinned) -> Iterator[bytes]:
    """Never unpacks more than one block beyond the pinned size, whatever the file claims to hold."""
    digest, size = hashlib.sha256(), 0
    try:
        with _open(path, pinned.packed) as file:
            while size <= pinned.size and (block := file.read(BLOCK)):
                digest.update(block)
                size += len(block)
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: broken gzip data after {size} bytes ({error}); allowed: a whole file") from error
    _compare(path, pinned, size, digest.hexdigest())


def _open(path: Path, packed: bool) -> BinaryIO:
    """Known by its first two bytes: a partial download has another suffix."""
    with path.open("rb") as file:
        compressed = packed and file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _compare(path: Path, pinned: Pinned, size: int, sha256: str) -> None:
    if size != pinned.size:
        found = f"more than {pinned.size}" if size > pinned.size else str(size)
        raise InputError(f"{path}: {found} bytes of content; allowed: {pinned.size}")
    if sha256 != pinned.sha256:
        raise InputError(f"{path}: wrong checksum: SHA-256 {sha256} of the content; allowed: {pinned.sha256}")
