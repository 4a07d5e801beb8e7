"""The epochs of a training, as `train` wrote them to history.csv."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.errors import InputError

LOSSES = ("train_loss", "validation_loss")
ACCURACIES = ("train_accuracy", "validation_accuracy")
ERRORS = ("train_mae", "validation_mae")  # of a regression, in its target's unit


def read(path: Path) -> np.ndarray:
    """A structured array [epochs] with a field for each column. Raises InputError where columns are missing."""
    rows = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
    if missing := missing_columns(rows.dtype.names or ()):
        raise InputError(f"{path}: no column {', '.join(missing)}; run `dvc repro` to train again")
    return rows


def missing_columns(found: Iterable[str]) -> list[str]:
    """Which columns the plots need that are not among those found."""
    found = set(found)
    measures = ERRORS if found.issuperset(ERRORS) else ACCURACIES
    return sorted({"epoch", *LOSSES, *measures} - found)


def measure(epochs: np.ndarray) -> str:
    """What is told beside the loss: `accuracy`, or `mae`."""
    return "mae" if ERRORS[0] in (epochs.dtype.names or ()) else "accuracy"
