"""The prediction log: a line of JSON for each example, for finding out whether the inputs have drifted.

It holds what that needs and no more: a table's row, but of an image only the few numbers of
`models.summary`. Each worker has a file of its own, so that none waits for another.
"""

import asyncio
import logging
import os
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from models import summary
from models.errors import InputError
from serving.monitoring.observation import Observation
from serving.monitoring.rotating_file import Lines
from serving.scheduling import low_priority
from serving.settings import Settings

SECONDS = 0.25  # between two writes: notes gather meanwhile, so that no request wakes a thread
MOST_NOTES, MOST_BYTES = 8192, 16 << 20  # that wait; more are dropped
GROUP = 64  # lines written together

Told = Callable[[Literal["written", "dropped", "failed"], int], None]
log = logging.getLogger("bentoml.tandem")


@dataclass(frozen=True, slots=True)
class Note:
    """One request that waits to be written."""

    time: float
    request_id: bytes
    seen: Observation


class PredictionLog:
    """Notes answers, and writes them now and then in a thread. `told` hears how many examples became what.

    Everything but the writing happens on the event loop. Raises InputError where the folder cannot be
    written to.
    """

    def __init__(self, settings: Settings, folder: Path, worker: int, told: Told) -> None:
        require_folder(folder)
        path = folder / f"{socket.gethostname()}-{worker}.jsonl"
        self._lines = Lines(path, settings.prediction_log_bytes, settings.prediction_log_files)
        self._payload = settings.prediction_log_inputs
        self._told = told
        self._waiting: list[Note] = []
        self._bytes = 0
        self._thread = low_priority.thread("prediction-log")

    def note(self, request_id: bytes, seen: Observation) -> None:
        """Remember one answer until the next write, or drop it where too many wait."""
        size = seen.inputs.nbytes
        if len(self._waiting) >= MOST_NOTES or self._bytes + size > MOST_BYTES:
            self._told("dropped", len(seen.inputs))
            return
        self._bytes += size
        self._waiting.append(Note(time.time(), request_id, seen))

    async def watch(self) -> None:
        """Write every `SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        notes, self._waiting, self._bytes = self._waiting, [], 0
        if notes:
            outcome = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, notes)
            for result, count in outcome.items():
                self._told(result, count)

    async def close(self) -> None:
        """Write what still waits, and close the file."""
        await self.flush()
        self._thread.shutdown()
        self._lines.close()

    def _write(self, notes: list[Note]) -> Counter[Literal["written", "failed"]]:
        """How many examples were written, and how many could not be: a full disk costs lines, never answers."""
        outcome: Counter[Literal["written", "failed"]] = Counter()
        lines = (line for note in notes for line in _lines(note, self._payload))
        while group := list(islice(lines, GROUP)):
            try:
                self._lines.write("\n".join(group))
                outcome["written"] += len(group)
            except OSError as error:
                log.warning("prediction log: %d lines lost: %s", len(group), error)
                outcome["failed"] += len(group)
        return outcome


def require_folder(folder: Path) -> None:
    """Make the folder. Raises InputError where it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"TANDEM_PREDICTION_LOG: {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"TANDEM_PREDICTION_LOG: {folder}: not writable; allowed: a folder of this user's own")


def _lines(note: Note, payload: bool) -> Iterator[str]:
    """The request's lines, one for each example."""
    champion, inputs = note.seen.champion, note.seen.inputs
    rows = summary.summarise(inputs, champion.spec).tolist()
    for index, (row, output) in enumerate(zip(rows, note.seen.outputs, strict=True)):
        line: dict[str, Any] = {
            "time": round(note.time, 3),
            "request_id": note.request_id.decode(),
            "index": index,
            "version": champion.version,
            "sha256": champion.sha256,
            "inputs": row,
            **_answer(output, champion.spec.labels),
        }
        if payload and champion.spec.kind == "image":
            line["image"] = b64encode(inputs[index].tobytes()).decode()
        yield orjson.dumps(line).decode()


def _answer(output: np.ndarray, labels: tuple[str, ...]) -> dict[str, Any]:
    """Label and probabilities of a classifier, or the predicted value; `output` is [K]."""
    values = output.tolist()
    if not labels:
        return {"value": values[0]}
    rounded = [round(value, summary.PROBABILITY_DECIMALS) for value in values]
    return {"label": labels[int(output.argmax())], "probabilities": rounded}
