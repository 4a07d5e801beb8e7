"""Checks of class labels and class targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

MIN_TEST_EXAMPLES = 2  # of each class in an official test split


def check_labels(labels: Sequence[str], path: Path) -> None:
    """Raise InputError unless there are two or more different labels."""
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise InputError(f"{path}: labels = {list(labels)}; allowed: two or more, each once")


def check(path: Path, targets: NDArray[Any], count: int, labels: Sequence[str]) -> None:
    """Raise InputError unless `targets` are `count` class indices."""
    if targets.dtype != np.int64 or targets.shape != (count,):
        raise InputError(f"{path}: {targets.dtype} {targets.shape}; allowed: int64 ({count},), one for each example")
    wrong = np.flatnonzero((targets < 0) | (targets >= len(labels)))
    if len(wrong):
        value = targets[wrong[0]]
        raise InputError(f"{path}: label {value} of example {wrong[0]}; allowed: 0 to {len(labels) - 1}")


def check_test_counts(targets: NDArray[np.int64], labels: Sequence[str]) -> None:
    """Raise InputError unless an official test split has MIN_TEST_EXAMPLES of each class."""
    for label, examples in class_counts(targets, labels).items():
        if examples < MIN_TEST_EXAMPLES:
            problem = f"examples of class '{label}' in the test split: {examples}"
            raise InputError(f"{problem}; allowed: {MIN_TEST_EXAMPLES} or more; add examples, or remove the class")


def class_counts(targets: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """The number of `targets` [N] in each class."""
    counts = np.bincount(targets, minlength=len(labels))
    return {label: int(count) for label, count in zip(labels, counts, strict=True)}
