"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html): 60,000 colour photographs, 32x32.

The binary version, because unpickling the Python version could execute code.
"""

import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import DataSource
from pipelines.sources.published import locate
from pipelines.sources.published.pinned import PinnedFile, verify

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVE = PinnedFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    gzipped=False,
)
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
)
TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
TEST = "cifar-10-batches-bin/test_batch.bin"
RECORDS = 10_000  # in each file
RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes


def find(config: DataSource) -> str | None:
    """The folder of the archive; None if it has to be downloaded. Raises InputError as `locate.find`."""
    return locate.find(config, "cifar10", (ARCHIVE,))


def load(config: DataSource) -> RawData:
    """50,000 training and 10,000 official test images, uint8 [N, 32, 32, 3].

    Raises InputError as `locate`, and if the archive is not the published one or lacks a file.
    """
    path = locate.locate(config, "cifar10", ARCHIVE, MIRRORS)
    verify(path, ARCHIVE)
    records = _read(path, (*TRAIN, TEST))
    train_inputs, train_targets = _unpack(np.concatenate([records[name] for name in TRAIN]))
    test_inputs, test_targets = _unpack(records[TEST])
    return RawData("cifar10", LABELS, train_inputs, train_targets, test_inputs, test_targets, str(path.parent))


def _read(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    """The named files of the archive, uint8 [RECORDS, RECORD] each; nothing is written to disk."""
    with tarfile.open(path, "r:gz") as archive:  # in the order of the archive, so that it is unpacked once
        records = {member.name: _records(path, archive, member) for member in archive if member.name in names}
    if missing := [name for name in names if name not in records]:
        raise InputError(f"{path}: lacks {', '.join(missing)}")
    return records


def _records(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> NDArray[np.uint8]:
    file = archive.extractfile(member) if member.isfile() and member.size == RECORDS * RECORD else None
    if file is None:
        raise InputError(f"{path}: {member.name} has {member.size} bytes; allowed: a file of {RECORDS * RECORD}")
    return np.frombuffer(file.read(), np.uint8).reshape(RECORDS, RECORD)


def _unpack(records: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)  # NCHW -> NHWC
