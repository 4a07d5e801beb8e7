"""The epochs of a training, as `train` wrote them to history.csv."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.errors import InputError

CURVES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


def read(path: Path) -> np.ndarray:
    """A structured array [epochs] with a field for each column. Raises InputError where columns are missing."""
    rows = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
    if missing := missing_columns(rows.dtype.names or ()):
        raise InputError(f"{path}: no column {', '.join(missing)}; run `dvc repro` to train again")
    return rows


def missing_columns(found: Iterable[str]) -> list[str]:
    """Which columns the plots need that are not among those found."""
    return sorted({"epoch", *CURVES} - set(found))
