"""The state of a training on disk, from which the next run of the stage continues after an interruption.

It is outside the outputs of the stage, which DVC deletes before the stage runs. That of a complete training is kept
until the stage `export`, as DVC may be killed before it has recorded the outputs.
"""

import functools
import io
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from models.errors import InputError
from models.training.device import Device, Precision
from models.training.epoch import Epoch
from models.training.recovery import LearnerState, TrainingState
from models.training.workers import Workers, broadcast
from pipelines.artifacts import paths, split_files, training_record
from pipelines.artifacts.hashing import hash_files
from pipelines.artifacts.layer_history import Row
from pipelines.execution.candidate import Candidate

ROOT = Path(__file__).parents[2]  # of the code and its dvc.yaml
PACKAGES = {"torch": ("numpy", "torch"), "keras": ("numpy", "keras", "tensorflow")}
SYNC_SHARE = 0.02  # of the time, at most, for copies that are known to be on the disk
# Names of the arrays in the file. The first three contain JSON.
JSON, HISTORY, LAYERS, LEARNER, BEST = "json", "history", "layers", "learner/", "best/"
Fingerprint = dict[str, str]
UNREADABLE = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Interrupted:
    """An interrupted training: its MLflow run, precision with the durations that led to it (as in `Device`), duration
    in seconds so far, layer history and state."""

    run_id: str
    precision: Precision
    step_seconds: Mapping[Precision, float]
    seconds: float
    layers: list[Row]
    state: TrainingState

    @property
    def epochs(self) -> int:
        """The number of epochs that are complete."""
        return len(self.state.history)


class GrowingList:
    """The JSON of a list that only grows. Each entry is encoded once, as a training may have thousands of epochs."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, entries: Sequence[Any], jsonable: Callable[[Any], Any] = tuple) -> np.ndarray:
        """UTF-8 as uint8 [bytes]; `jsonable` converts an entry."""
        self.texts += [json.dumps(jsonable(entry)) for entry in entries[len(self.texts) :]]
        return np.frombuffer(f"[{','.join(self.texts)}]".encode(), np.uint8)


class StateFile:
    """The file of one candidate. It is written beside and renamed; `fingerprint` is that of the present training.

    It survives the end of the process. A copy, which is not as recent, is known to be on the disk: it survives a power
    failure, too.
    """

    def __init__(self, candidate: str, fingerprint: Fingerprint) -> None:
        self.candidate = candidate
        self.fingerprint = fingerprint
        self.path = paths.training_state(candidate) / "state.npz"
        self.synced = paths.training_state(candidate) / "synced.npz"
        self.history, self.layers = GrowingList(), GrowingList()
        self.sync_due = 0.0  # not before; seconds of the monotonic clock

    def read(self) -> Interrupted | None:
        """The interrupted training, if any.

        The state of one whose checkpoint exists is deleted; one that is damaged or of another training with a line.
        """
        if not self.path.exists():
            return None
        try:
            interrupted = self._read()
        except ValueError as error:
            reason = str(error)
        else:
            if not _has_checkpoint(self.candidate, interrupted.run_id):
                return interrupted
            self.delete()
            return None
        if self.synced.exists():
            self.synced.replace(self.path)
            return self.read()
        print(f"{self.candidate}: the stored state of a training is not used, as {reason}", flush=True)
        self.delete()
        return None

    def _read(self) -> Interrupted:
        """Raises ValueError with the reason if the file is damaged or of another training."""
        try:
            stored, arrays = _read(self.path)
            changed = [name for name, value in self.fingerprint.items() if stored["fingerprint"].get(name) != value]
            interrupted = _interrupted(stored, arrays)
        except UNREADABLE as error:
            raise ValueError(f"{self.path} is damaged ({str(error) or type(error).__name__})") from error
        if changed:
            raise ValueError(f"{' and '.join(changed)} changed")
        return interrupted

    def write(self, interrupted: Interrupted) -> None:
        """Replace the file and, unless that would take more than its share of the time, the copy."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays = self._arrays(interrupted)
        _write(self.path, arrays)
        start = time.monotonic()
        if start >= self.sync_due:
            _write(self.synced, arrays, synced=True)
            end = time.monotonic()
            self.sync_due = end + (end - start) / SYNC_SHARE

    def _arrays(self, interrupted: Interrupted) -> dict[str, np.ndarray]:
        state = interrupted.state
        content = {
            "fingerprint": self.fingerprint,
            "run_id": interrupted.run_id,
            "precision": interrupted.precision,
            "step_seconds": dict(interrupted.step_seconds),
            "seconds": interrupted.seconds,
            "random": state.random,
            "values": state.learner.values,
            "has_best": state.best_weights is not None,
        }
        arrays = {f"{LEARNER}{name}": array for name, array in state.learner.arrays.items()}
        arrays |= {f"{BEST}{name}": array for name, array in (state.best_weights or {}).items()}
        arrays[JSON] = np.frombuffer(json.dumps(content).encode(), np.uint8)
        arrays[HISTORY] = self.history.encode(state.history, asdict)
        arrays[LAYERS] = self.layers.encode(interrupted.layers)
        return arrays

    def delete(self) -> None:
        """Delete the file and the copy."""
        for path in (self.path, self.synced):
            path.unlink(missing_ok=True)


def _has_checkpoint(candidate: str, run_id: str) -> bool:
    """True if the training of this run is complete, and the stage was not started by DVC, which deletes its outputs."""
    path = paths.checkpoint(candidate) / training_record.FILE
    return path.exists() and training_record.read(path)["run_id"] == run_id


def shared(workers: Workers, file: StateFile, device: Device) -> Interrupted | None:
    """The interrupted training of worker 0, for every worker; each has to call this.

    Raises InputError if what the result depends on differs between worker 0 and this worker.
    """
    interrupted = file.read() if workers.rank == 0 else None
    own = {**file.fingerprint, "precision": device.precision}
    expected = json.loads(broadcast(workers, json.dumps(own).encode()))
    differing = [name for name, value in own.items() if expected[name] != value]
    if differing:
        raise InputError(
            f"worker {workers.rank}: its {' and '.join(differing)} differ from those of worker 0; "
            "allowed: the same for all"
        )
    content = broadcast(workers, file.path.read_bytes() if interrupted and workers.size > 1 else b"")
    return _interrupted(*_read(io.BytesIO(content))) if content else interrupted


def fingerprint(chosen: Candidate, sections: Mapping[str, Any], device: Device) -> Fingerprint:
    """What the result of a training depends on, as texts to compare."""
    names = [
        paths.split(split) / name
        for split in ("train", "validation")
        for name in (split_files.INPUTS, split_files.TARGETS)
    ]
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES[chosen.framework])
    return {
        "parameters": json.dumps(sections, sort_keys=True),
        "data": hash_files([paths.SPEC, *names]),
        "code": hash_files(_code(chosen)),
        "device": device.kind,
        "versions": versions,
    }


def _code(chosen: Candidate) -> list[Path]:
    """The Python files among the dependencies of the stage."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    items = {"${item.framework}": chosen.framework, "${item.architecture}": chosen.architecture}
    named = [
        functools.reduce(lambda text, item: text.replace(*item), items.items(), dep) for dep in stages["train"]["deps"]
    ]
    code = [ROOT / name for name in named if name.split("/")[0] in ("models", "pipelines")]
    return [file for path in code for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def _write(path: Path, arrays: Mapping[str, np.ndarray], synced: bool = False) -> None:
    """Write beside, wait until it is on the disk if `synced`, and rename."""
    beside = path.with_name(f".{path.name}")
    with beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        if synced:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)


def _read(path: Path | io.BytesIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    return json.loads(arrays.pop(JSON).tobytes()), arrays


def _interrupted(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Interrupted:
    learner = LearnerState(_part(arrays, LEARNER), content["values"])
    history = [Epoch(**epoch) for epoch in json.loads(arrays[HISTORY].tobytes())]
    best_weights = _part(arrays, BEST) if content["has_best"] else None
    return Interrupted(
        content["run_id"],
        content["precision"],
        content["step_seconds"],
        content["seconds"],
        [tuple(row) for row in json.loads(arrays[LAYERS].tobytes())],
        TrainingState(history, learner, content["random"], best_weights),
    )


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
