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
from models.spec import DataSpec
from serving.monitoring.observation import Observation
from serving.monitoring.rotating_file import RotatingFile
from serving.scheduling import low_priority
from serving.settings import Settings

FLUSH_SECONDS = 0.25  # interval of writes; a write for each request would be slower
MAX_RECORDS, MAX_BYTES = 8192, 16 << 20  # in the queue; further ones are dropped
LINES_PER_WRITE = 64

OnResult = Callable[[Literal["written", "dropped", "failed"], int], None]
log = logging.getLogger("bentoml.tandem")


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request in the queue."""

    time: float
    request_id: bytes
    observation: Observation


class PredictionLog:
    """Queues answered requests on the event loop, and writes them in a thread; `on_result` counts the examples.

    Raises InputError if the folder is not writable.
    """

    def __init__(self, settings: Settings, folder: Path, worker: int, on_result: OnResult) -> None:
        require_folder(folder)
        path = folder / f"{socket.gethostname()}-{worker}.jsonl"
        self._file = RotatingFile(path, settings.prediction_log_bytes, settings.prediction_log_files)
        self._images = settings.prediction_log_inputs
        self._on_result = on_result
        self._queue: list[Record] = []
        self._bytes = 0
        self._thread = low_priority.thread("prediction-log")

    def record(self, request_id: bytes, observation: Observation) -> None:
        """Queue an answered request for the next write, or drop it if the queue is full."""
        size = observation.inputs.nbytes
        if len(self._queue) >= MAX_RECORDS or self._bytes + size > MAX_BYTES:
            self._on_result("dropped", len(observation.inputs))
            return
        self._bytes += size
        self._queue.append(Record(time.time(), request_id, observation))

    async def watch(self) -> None:
        """Write every `FLUSH_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write the queued records."""
        records, self._queue, self._bytes = self._queue, [], 0
        if records:
            outcome = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, records)
            for result, count in outcome.items():
                self._on_result(result, count)

    async def close(self) -> None:
        """Write the queued records, and close the file."""
        await self.flush()
        self._thread.shutdown()
        self._file.close()

    def _write(self, records: list[Record]) -> Counter[Literal["written", "failed"]]:
        """Write in groups of lines; the numbers of examples written and lost, as a full disk must not fail requests."""
        outcome: Counter[Literal["written", "failed"]] = Counter()
        lines = (line for record in records for line in _lines(record, self._images))
        reason: OSError | None = None
        while group := list(islice(lines, LINES_PER_WRITE)):
            try:
                self._file.write("\n".join(group))
                outcome["written"] += len(group)
            except OSError as error:
                outcome["failed"] += len(group)
                reason = error
        if reason:
            log.warning("prediction log: lost %d lines: %s", outcome["failed"], reason)
        return outcome


def require_folder(folder: Path) -> None:
    """Create the folder. Raises InputError if it cannot be created or is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"TANDEM_PREDICTION_LOG: {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"TANDEM_PREDICTION_LOG: {folder}: not writable; name a folder that this user may write to")


def _lines(record: Record, images: bool) -> Iterator[str]:
    """One JSON line for each example of a request, with the pixels of an image if `images`."""
    champion, inputs, outputs = record.observation
    rows = summary.summarise(inputs, champion.spec).tolist()
    for index, (row, output) in enumerate(zip(rows, outputs, strict=True)):
        line: dict[str, Any] = {
            "time": round(record.time, 3),
            "request_id": record.request_id.decode(),
            "index": index,
            "version": champion.version,
            "sha256": champion.sha256,
            "inputs": row,
            **_prediction(output, champion.spec),
        }
        if images and champion.spec.kind == "image":
            line["image"] = b64encode(inputs[index].tobytes()).decode()
        yield orjson.dumps(line).decode()


def _prediction(output: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    """Label and probabilities, or the value of a regression, from `output` [K]."""
    values = output.tolist()
    if not spec.is_classification:
        return {"value": values[0]}
    rounded = [round(value, summary.PROBABILITY_DECIMALS) for value in values]
    return {"label": spec.labels[int(output.argmax())], "probabilities": rounded}
