"""Validation of the raw examples: invalid data is rejected, empty and duplicate images are counted."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts import raw_data
from pipelines.artifacts.hashing import digests
from pipelines.artifacts.npy import spans
from pipelines.artifacts.raw_data import RawData
from pipelines.prepare import class_validation, table_validation

CHANNELS = (1, 3)
DIGEST_BYTES = 16  # the probability that two of 70,000 images have the same digest is 1e-29


def check(raw: RawData) -> None:
    """Raise InputError, with file, value and allowed values, if the examples are not valid."""
    folder = Path(raw.origin)
    if raw.is_classification or raw.table is None:
        class_validation.check_labels(raw.labels, folder / raw_data.META)
    _check_part(folder, "train", raw.train_inputs, raw.train_targets, raw)
    if raw.test_inputs is not None and raw.test_targets is not None:
        _check_part(folder, "test", raw.test_inputs, raw.test_targets, raw)
        if raw.is_classification or raw.table is None:
            class_validation.check_test_counts(raw.test_targets, raw.labels)
        if raw.test_inputs.shape[1:] != raw.train_inputs.shape[1:]:
            actual, allowed = raw.test_inputs.shape[1:], raw.train_inputs.shape[1:]
            raise InputError(
                f"{raw_data.array_path(folder, 'test_inputs')}: images of {actual}; allowed: {allowed}, as in training"
            )


def constant_images(images: NDArray[np.uint8]) -> list[int]:
    """The rows of `images` [N, H, W, C] whose values are all equal: empty images."""
    flat = images.reshape(len(images), -1)
    rows = [np.flatnonzero((flat[span] == flat[span, :1]).all(axis=1)) + span.start for span in spans(images)]
    return [int(row) for part in rows for row in part]


def duplicates(splits: Mapping[str, NDArray[np.uint8]]) -> dict[str, int]:
    """For each pair `earlier/later` of splits, the number of examples of the later one in the earlier one."""
    return common({name: digests(images, DIGEST_BYTES) for name, images in splits.items()})


def common(splits: Mapping[str, Sequence[Hashable]]) -> dict[str, int]:
    """For each pair `earlier/later` of splits, the number of values of the later one that the earlier one has, too."""
    names = list(splits)
    pairs = [(earlier, later) for index, later in enumerate(names) for earlier in names[:index]]
    return {f"{earlier}/{later}": _common(splits[earlier], splits[later]) for earlier, later in pairs}


def _check_part(folder: Path, part: str, images: NDArray[Any], targets: NDArray[Any], raw: RawData) -> None:
    if raw.table:
        table_validation.check_part(folder, part, images, targets, raw, raw.table)
        return
    inputs_path = raw_data.array_path(folder, f"{part}_inputs")
    _check_images(inputs_path, images)
    class_validation.check(raw_data.array_path(folder, f"{part}_targets"), targets, len(images), raw.labels)
    if len(constant_images(images)) == len(images):
        raise InputError(f"{inputs_path}: all {len(images)} images are empty (one value each); allowed: others")


def _check_images(path: Path, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"{path}: {images.dtype} {images.shape}; allowed: uint8 (N, H, W, C)")
    if 0 in images.shape:
        raise InputError(f"{path}: no data, its shape is {images.shape}; allowed: 1 or more along each axis")
    if images.shape[-1] not in CHANNELS:
        raise InputError(f"{path}: {images.shape[-1]} channels; allowed: {' or '.join(map(str, CHANNELS))}")


def _common(earlier: Sequence[Hashable], later: Sequence[Hashable]) -> int:
    known = set(earlier)
    return sum(value in known for value in later)
