"""`predictions/CANDIDATE.npz`: the outputs of each graph of a candidate for the validation split, float32 [N, K]."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import InputError


def write(outputs: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the outputs by the file name of their graph."""
    with path.open("wb") as file:
        np.savez(file, **outputs)  # type: ignore[arg-type]


def read(path: Path, graph: str, examples: int) -> np.ndarray:
    """The outputs of one graph for so many `examples`. Raises InputError where the file has no such array."""
    try:
        with np.load(path, allow_pickle=False) as file:
            outputs = np.asarray(file[graph])
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; run `dvc repro`") from error
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: no outputs of {graph} ({error}); run `dvc repro`") from error
    if len(outputs) != examples:
        raise InputError(f"{path}: {len(outputs)} outputs of {graph} for {examples} examples; run `dvc repro`")
    return outputs
