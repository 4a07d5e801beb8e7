"""Whether the examples can be learned from: what is wrong is refused, what is odd is counted."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.npy import spans
from pipelines.sources.raw import RawData

CHANNELS = (1, 3)
FEWEST = 2  # examples of a class: one to learn from, one to check with


def check(raw: RawData) -> None:
    """Raise InputError, naming file, value and what is allowed, for anything that no split could mend."""
    folder = Path(raw.origin)
    _check_labels(raw.labels, folder / "meta.json")
    _check_part(folder, "train", raw.train_inputs, raw.train_targets, raw.labels)
    if raw.test_inputs is not None and raw.test_targets is not None:
        _check_part(folder, "test", raw.test_inputs, raw.test_targets, raw.labels)
        if raw.test_inputs.shape[1:] != raw.train_inputs.shape[1:]:
            found, allowed = raw.test_inputs.shape[1:], raw.train_inputs.shape[1:]
            raise InputError(f"{folder / 'test_inputs.npy'}: images of {found}; allowed: {allowed}, as in training")


def constant_images(images: NDArray[np.uint8]) -> list[int]:
    """The rows of `images` [N, H, W, C] whose values are all the same: empty pictures."""
    flat = images.reshape(len(images), -1)
    rows = [np.flatnonzero((flat[span] == flat[span, :1]).all(axis=1)) + span.start for span in spans(images)]
    return [int(row) for part in rows for row in part]


def duplicates(splits: Mapping[str, NDArray[np.uint8]]) -> dict[str, int]:
    """For each pair `earlier/later`, how many images of the later split stand in the earlier one, byte for byte."""
    digests = {name: _digests(images) for name, images in splits.items()}
    names = list(splits)
    pairs = [(earlier, later) for place, later in enumerate(names) for earlier in names[:place]]
    return {f"{earlier}/{later}": _common(digests[earlier], digests[later]) for earlier, later in pairs}


def class_counts(targets: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """How many of `targets` [N] belong to each class."""
    counts = np.bincount(targets, minlength=len(labels))
    return {label: int(count) for label, count in zip(labels, counts, strict=True)}


def _check_labels(labels: Sequence[str], path: Path) -> None:
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise InputError(f"{path}: labels = {list(labels)}; allowed: two or more, each once")


def _check_part(folder: Path, part: str, images: NDArray[Any], targets: NDArray[Any], labels: Sequence[str]) -> None:
    inputs_path, targets_path = folder / f"{part}_inputs.npy", folder / f"{part}_targets.npy"
    _check_images(inputs_path, images)
    _check_targets(targets_path, targets, len(images), len(labels))
    for label, count in class_counts(targets, labels).items():
        if count < FEWEST:
            raise InputError(f"{targets_path}: class '{label}' has {count} example(s); allowed: {FEWEST} or more")
    if len(constant_images(images)) == len(images):
        raise InputError(f"{inputs_path}: all {len(images)} images are empty, of one value each; allowed: pictures")


def _check_images(path: Path, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"{path}: {images.dtype} {images.shape}; allowed: uint8 (N, H, W, C)")
    if 0 in images.shape:
        raise InputError(f"{path}: no data, its shape is {images.shape}; allowed: 1 or more along each axis")
    if images.shape[-1] not in CHANNELS:
        raise InputError(f"{path}: {images.shape[-1]} channels; allowed: {' or '.join(map(str, CHANNELS))}")


def _check_targets(path: Path, targets: NDArray[Any], count: int, classes: int) -> None:
    if targets.dtype != np.int64 or targets.shape != (count,):
        raise InputError(f"{path}: {targets.dtype} {targets.shape}; allowed: int64 ({count},), one for each image")
    wrong = np.flatnonzero((targets < 0) | (targets >= classes))
    if len(wrong):
        value = targets[wrong[0]]
        raise InputError(f"{path}: label {value} of example {wrong[0]}; allowed: 0 to {classes - 1}")


def _digests(images: NDArray[np.uint8]) -> list[bytes]:
    """16 bytes for each image: 70,000 of them meet by chance once in 10^29 sets."""
    return [
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for span in spans(images)
        for image in images[span]
    ]


def _common(earlier: list[bytes], later: list[bytes]) -> int:
    known = set(earlier)
    return sum(digest in known for digest in later)
