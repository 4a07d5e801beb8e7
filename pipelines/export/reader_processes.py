"""Exported files, each asked in a process of its own, as whoever receives the file would ask it."""

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

AT_ONCE = 2  # files that are asked


class Runtimes:
    """Processes by the name of the file that each of them opens."""

    def __init__(self, processes: Mapping[str, subprocess.Popen[str]]) -> None:
        self.processes = processes

    def ask(self, files: Sequence[Path], spec: DataSpec, inputs: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
        """Each file with its outputs [batches, N, K] for raw inputs [N, *shape]; once for each name.

        Raises InputError for the first file that its runtime cannot load, or not without another framework.
        """
        with TemporaryDirectory() as place, ThreadPoolExecutor(AT_ONCE) as pool:
            folder = Path(place)
            np.save(folder / "inputs.npy", inputs)
            (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
            yield from zip(files, pool.map(partial(self._ask, folder), files), strict=True)

    def _ask(self, folder: Path, file: Path) -> np.ndarray:
        process, outputs = self.processes[file.name], folder / f"{file.name}.npy"
        paths = [str(path) for path in (file.resolve(), folder / "spec.json", folder / "inputs.npy", outputs)]
        _, said = process.communicate(json.dumps(paths) + "\n")
        if process.returncode:
            reason = said.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise InputError(f"{file.name}: cannot be used in a process of its own: {reason[0]}")
        found: np.ndarray = np.load(outputs)
        return found


@contextmanager
def started(names: Iterable[str]) -> Iterator[Runtimes]:
    """Runtimes for files of these names. They take seconds to start, in which the files can still be made."""
    processes = {name: _start(name) for name in names}
    try:
        yield Runtimes(processes)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def _start(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", reader.__name__, name]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, stdin=pipe, stdout=nowhere, stderr=pipe, text=True)
