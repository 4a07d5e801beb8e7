"""The file of a trained model's weights: named float32 arrays, the same for both frameworks, no pickle."""

import zipfile
from pathlib import Path

import numpy as np

from models.errors import InputError

FILE = "weights.npz"


def write(weights: dict[str, np.ndarray], path: Path) -> None:
    """Write an `.npz`."""
    with path.open("wb") as file:
        np.savez(file, **weights)  # type: ignore[arg-type]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read an `.npz`. Raises InputError where it is not one or holds objects."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: not a checkpoint ({error}); run `dvc repro`") from error


def require_match(shapes: dict[str, tuple[int, ...]], weights: dict[str, np.ndarray]) -> None:
    """Raise InputError where the weights' names or shapes are not those of the model."""
    given = {name: array.shape for name, array in weights.items()}
    wrong = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise InputError(
            f"weights do not fit the model at '{name}': found {given.get(name, 'none')}, "
            f"allowed {shapes.get(name, 'none')} ({len(wrong)} of {len(shapes)} differ)"
        )
