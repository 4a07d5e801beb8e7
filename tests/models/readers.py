"""Reader processes that are asked many times: importing their frameworks takes seconds."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from models.spec import DataSpec
from pipelines.export import reader_processes
from pipelines.export.reader_processes import ReaderProcesses


class Readers(ExitStack):
    """One process for each file name, started when it is first needed."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: dict[str, ReaderProcesses] = {}

    def read(self, files: Iterable[Path], spec: DataSpec, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs [batches, N, K] of each file for raw inputs [N, *shape], by file name."""
        return {file.name: self._read(file, spec, inputs) for file in files}

    def _read(self, file: Path, spec: DataSpec, inputs: np.ndarray) -> np.ndarray:
        if file.name not in self.processes:
            self.processes[file.name] = self.enter_context(reader_processes.started([file.name]))
        ((_, outputs),) = self.processes[file.name].predict([file], spec, inputs)
        return outputs
