"""Predictions of exported files, each read in another process, as by a recipient of the file.

Files whose runtimes import the same frameworks share a process.
"""

import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from pipelines.execution import garbage_collection
from pipelines.execution.banners import banners_hidden
from pipelines.export import reader
from pipelines.export.reader import READERS


class ReaderProcess(NamedTuple):
    """A process that executes `reader.serve`, and the connection to it."""

    process: BaseProcess
    connection: Connection


class ReaderProcesses:
    """Reader processes by the name of the file that each reads."""

    def __init__(self, processes: Mapping[str, ReaderProcess]) -> None:
        self.processes = processes

    def predict(self, files: Sequence[Path], spec: DataSpec, inputs: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
        """Each file with its outputs [batches, N, K] for raw inputs [N, *shape].

        Raises InputError for the first file that its runtime cannot load, or only with another framework.
        """
        with TemporaryDirectory() as folder:
            # In files: two processes that each wait to send what exceeds the buffer of a pipe would wait forever.
            spec_path, inputs_path = Path(folder) / "spec.json", Path(folder) / "inputs.npy"
            spec.write(spec_path)
            np.save(inputs_path, inputs)
            for file in files:
                self._request(file, spec_path, inputs_path)
            for file in files:
                yield file, self._answer(file)

    def _request(self, file: Path, spec: Path, inputs: Path) -> None:
        try:
            self.processes[file.name].connection.send((file.resolve(), spec, inputs))
        except BrokenPipeError as error:
            raise self._unusable(file) from error

    def _answer(self, file: Path) -> np.ndarray:
        try:
            answer: np.ndarray | str = self.processes[file.name].connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._unusable(file) from error
        if isinstance(answer, str):
            raise self._unusable(file, answer)
        return answer

    def _unusable(self, file: Path, reason: str = "") -> InputError:
        process = self.processes[file.name].process
        if not reason:
            process.join()
        return InputError(
            f"{file.name}: cannot be used in a process of its own: {reason or f'status {process.exitcode}'}"
        )


@contextmanager
def started(names: Iterable[str]) -> Iterator[ReaderProcesses]:
    """Reader processes for files of these names.

    On Linux the frameworks that they need are imported here, once, and inherited. Other modules of this process may
    import a framework only afterwards, as a reader must not have more than its runtime: where this process has imported
    more, the readers import their runtimes themselves.
    """
    processes: dict[str, ReaderProcess] = {}
    ordered = sorted(names, key=lambda name: (len(READERS[name].imports), sorted(READERS[name].imports)))
    try:
        for imports, group in groupby(ordered, key=lambda name: READERS[name].imports):
            group_names = [*group]
            processes |= dict.fromkeys(group_names, _start(group_names, imports))
        yield ReaderProcesses(processes)
    finally:
        for process, connection in {*processes.values()}:
            process.kill()
            process.join()
            connection.close()


def _start(names: Sequence[str], imports: frozenset[str]) -> ReaderProcess:
    context = multiprocessing.get_context(_start_method(imports))
    if imports and context.get_start_method() == "fork":
        with banners_hidden(), garbage_collection.paused():
            for name in names:
                READERS[name].prepare()
    ours, theirs = context.Pipe()
    process = context.Process(target=reader.serve, args=(theirs, names), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return ReaderProcess(process, ours)


def _start_method(imports: frozenset[str]) -> Literal["fork", "spawn"]:
    """The way to start a process that has imported none of `reader.FRAMEWORKS` but `imports`."""
    return "fork" if sys.platform == "linux" and reader.imported_frameworks() <= imports else "spawn"
