"""`pipelines.export.reader` processes that are asked many times: importing their frameworks takes seconds."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.spec import DataSpec
from tests.pipelines.workspace import REPOSITORY

PROGRAM = """
from pipelines.export import reader
while True:
    reader.main()
    print("done", flush=True)
"""


class Readers:
    """One process for each file name, started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def read(self, files: Iterable[Path], spec: DataSpec, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs [batches, N, K] of each file for raw inputs [N, *shape], by file name."""
        np.save(self.folder / "inputs.npy", inputs)
        (self.folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
        return {file.name: self._read(file) for file in files}

    def _read(self, file: Path) -> np.ndarray:
        process = self.processes.get(file.name) or self._start(file.name)
        outputs = self.folder / f"{file.name}.npy"
        paths = (file.resolve(), self.folder / "spec.json", self.folder / "inputs.npy", outputs)
        assert process.stdin
        assert process.stdout
        print(json.dumps([str(path) for path in paths]), file=process.stdin, flush=True)
        while (line := process.stdout.readline()) != "done\n":
            assert line, (self.folder / f"{file.name}.txt").read_text("utf-8")
        found: np.ndarray = np.load(outputs)
        return found

    def _start(self, name: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        with (self.folder / f"{name}.txt").open("w", encoding="utf-8") as errors:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, name], cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=errors, text=True
            )
        return self.processes[name]

    def close(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.kill()
            process.communicate()
