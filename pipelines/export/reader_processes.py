"""Predictions of exported files, each read in a process of its own, as by a recipient of the file."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from pipelines.export import reader

MAX_CONCURRENT = 2  # files read at the same time


class ReaderProcesses:
    """Reader processes by the name of the file that each reads."""

    def __init__(self, processes: Mapping[str, subprocess.Popen[str]]) -> None:
        self.processes = processes

    def predict(self, files: Sequence[Path], spec: DataSpec, inputs: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
        """Each file with its outputs [batches, N, K] for raw inputs [N, *shape]; once for each name.

        Raises InputError for the first file that its runtime cannot load, or only with another framework.
        """
        with TemporaryDirectory() as temporary, ThreadPoolExecutor(MAX_CONCURRENT) as pool:
            folder = Path(temporary)
            np.save(folder / "inputs.npy", inputs)
            (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
            yield from zip(files, pool.map(partial(self._predict, folder), files), strict=True)

    def _predict(self, folder: Path, file: Path) -> np.ndarray:
        process, outputs = self.processes[file.name], folder / f"{file.name}.npy"
        paths = [str(path) for path in (file.resolve(), folder / "spec.json", folder / "inputs.npy", outputs)]
        _, errors = process.communicate(json.dumps(paths) + "\n")
        if process.returncode:
            reason = errors.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise InputError(f"{file.name}: cannot be used in a process of its own: {reason[0]}")
        predictions: np.ndarray = np.load(outputs)
        return predictions


@contextmanager
def started(names: Iterable[str]) -> Iterator[ReaderProcesses]:
    """Reader processes for files of these names. They start, for seconds, while the files are written."""
    processes = {name: _start(name) for name in names}
    try:
        yield ReaderProcesses(processes)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def _start(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", reader.__name__, name]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
