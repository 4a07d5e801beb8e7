"""The IDX format (http://yann.lecun.com/exdb/mnist/), and data sets of four IDX files."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.published import pinned
from pipelines.sources.published.locate import locate
from pipelines.sources.published.pinned import PinnedFile

UINT8 = 0x08


def files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[PinnedFile, ...]:
    """The four files of a data set of 60,000 and 10,000 images of 28x28, given the SHA-256 of their content."""
    return (
        PinnedFile("train-images-idx3-ubyte.gz", 16 + 60_000 * 28 * 28, train_images, gzipped=True),
        PinnedFile("train-labels-idx1-ubyte.gz", 8 + 60_000, train_labels, gzipped=True),
        PinnedFile("t10k-images-idx3-ubyte.gz", 16 + 10_000 * 28 * 28, test_images, gzipped=True),
        PinnedFile("t10k-labels-idx1-ubyte.gz", 8 + 10_000, test_labels, gzipped=True),
    )


def load(
    config: DataSource,
    source: str,
    labels: tuple[str, ...],
    parts: Sequence[PinnedFile],
    *,
    mirrors: Sequence[str],
    system_folders: Sequence[Path] = (),
) -> RawData:
    """60,000 training and 10,000 official test images, uint8 [N, 28, 28, 1], of the four files of a data set.

    Raises InputError as `locate` and `pinned.read`.
    """
    paths = [locate(config, source, part, mirrors, system_folders) for part in parts]
    train_images, train_labels, test_images, test_labels = (
        parse(pinned.read(path, part), path) for path, part in zip(paths, parts, strict=True)
    )
    return RawData(
        source,
        labels,
        train_images[..., None],  # [N, H, W] -> [N, H, W, 1]
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
        origin=", ".join(sorted({str(path.parent) for path in paths})),
    )


def parse(content: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """The array in the unpacked content of an IDX file: uint8 [N, H, W] if the name contains `idx3`, else [N].

    Raises InputError for another magic number, element type or number of axes, and for a length that does not match
    the axes.
    """
    axes = 3 if "idx3" in path.name else 1
    expected = [0, 0, UINT8, axes]
    if content[:4].tolist() != expected:
        raise InputError(
            f"{path}: starts with {content[:4].tolist()}; allowed: {expected}, IDX of {axes} axes in uint8"
        )
    header, body = np.split(content, [4 + 4 * axes])
    sizes = tuple(int.from_bytes(header[start : start + 4].tobytes(), "big") for start in range(4, len(header), 4))
    if len(header) < 4 + 4 * axes:
        raise InputError(f"{path}: ends in its header after {len(header)} bytes; allowed: {4 + 4 * axes} or more")
    if len(body) != math.prod(sizes):
        raise InputError(f"{path}: {len(body)} values for axes {sizes}; allowed: {math.prod(sizes)}")
    return body.reshape(sizes)
