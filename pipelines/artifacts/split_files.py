"""`inputs.npy` and `targets.npy` of one split: raw examples [N, ...] and their targets [N]."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipelines.artifacts import npy

INPUTS, TARGETS = "inputs.npy", "targets.npy"


def read(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and targets as memory maps. Raises InputError where a file is missing or broken."""
    return npy.read(folder / INPUTS), npy.read(folder / TARGETS)


def write(chunks: Iterable[NDArray[Any]], like: NDArray[Any], targets: NDArray[Any], folder: Path) -> None:
    """Write inputs, given in `chunks` [n, ...] of the dtype and example shape of `like`, and `targets` [N]."""
    npy.write(chunks, like.dtype, (len(targets), *like.shape[1:]), folder / INPUTS)
    npy.write([targets], targets.dtype, targets.shape, folder / TARGETS)
