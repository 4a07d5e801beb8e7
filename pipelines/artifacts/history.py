"""`history.csv`: the epochs of one training; and the epochs of all candidates in one CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.errors import InputError
from models.training.epoch import Epoch

FILE = "history.csv"
LOSSES = ("train_loss", "validation_loss")
ACCURACIES = ("train_accuracy", "validation_accuracy")
ERRORS = ("train_mae", "validation_mae")  # of a regression, in the target's unit


def read(path: Path) -> np.ndarray:
    """A structured array [epochs] with a field for each column. Raises InputError where columns are missing."""
    rows = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
    columns = {*(rows.dtype.names or ())}
    required = {"epoch", *LOSSES, *(ERRORS if columns.issuperset(ERRORS) else ACCURACIES)}
    if missing := sorted(required - columns):
        raise InputError(f"{path}: no column {', '.join(missing)}; run `dvc repro` to train again")
    return rows


def write(epochs: Sequence[Epoch], path: Path) -> None:
    """CSV with a line for each epoch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(epochs[0].values()))
        writer.writeheader()
        writer.writerows(epoch.values() for epoch in epochs)


def write_combined(histories: Mapping[str, np.ndarray], path: Path) -> None:
    """CSV with a line for each candidate and epoch, for `dvc plots`; `histories` maps a candidate to its epochs.

    The metric's columns have one name for every task, as dvc.yaml names them.
    """
    quantity = metric(next(iter(histories.values())))
    columns = ["epoch", *LOSSES, f"train_{quantity}", f"validation_{quantity}"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("candidate", "epoch", *LOSSES, "train_metric", "validation_metric"))
        for name, epochs in histories.items():
            writer.writerows((name, *(f"{value:.6g}" for value in epoch)) for epoch in epochs[columns].tolist())


def metric(epochs: np.ndarray) -> str:
    """The metric recorded beside the loss: `accuracy`, or `mae`."""
    return "mae" if ERRORS[0] in (epochs.dtype.names or ()) else "accuracy"
