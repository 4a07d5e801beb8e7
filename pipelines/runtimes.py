"""Exported files, each asked in a process of its own, as whoever receives the file would ask it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from pipelines import read_back

AT_ONCE = 2  # most of a process's time is the import of its framework, on one core


def ask(files: Sequence[Path], spec: DataSpec, inputs: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
    """Each file with its outputs [batches, N, K] for raw inputs [N, *shape].

    Raises InputError for the first file that its runtime cannot load, or not without another framework.
    """
    with TemporaryDirectory() as place, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(place)
        np.save(folder / "inputs.npy", inputs)
        (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
        yield from zip(files, pool.map(partial(_ask, folder), files), strict=True)


def _ask(folder: Path, file: Path) -> np.ndarray:
    outputs = folder / f"{file.name}.npy"
    arguments = [str(path) for path in (file, folder / "spec.json", folder / "inputs.npy", outputs)]
    command = [sys.executable, "-m", read_back.__name__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise InputError(f"{file.name}: cannot be used in a process of its own: {reason[0]}")
    found: np.ndarray = np.load(outputs)
    return found
