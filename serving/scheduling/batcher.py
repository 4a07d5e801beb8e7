"""Greedy micro-batching: queued requests run together as soon as the model is free, without a timer."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from serving.inference.champion import Champion

MAX_TURN_SECONDS = 0.005  # longest time that runs block the event loop before other tasks continue
# Iterations of the event loop between the first request and its run. Each one reads what has arrived by then, so that
# runs are fewer and larger: 2 save 4 % of the CPU time of a worker with 16 connections.
COLLECTING_ITERATIONS = 2

# Called after each run with its outputs [N, K], its champion, the longest wait and the run time in seconds.
OnRun = Callable[[np.ndarray, Champion, float, float], None]


class Result(NamedTuple):
    """Outputs [N, K] of one request, and its seconds in the queue and in the model.

    It was `queued`, its first run `started` and its last one `ended` at these `time.perf_counter`s.
    """

    outputs: np.ndarray
    queue: float
    run: float
    queued: float
    started: float
    ended: float


class ModelRun(NamedTuple):
    """One run of the model: outputs [N, K], start (`time.perf_counter`) and duration in seconds."""

    outputs: np.ndarray
    started: float
    seconds: float


@dataclass(slots=True)
class QueuedRequest:
    """Examples [n, *shape] in the queue, validated against the champion's spec."""

    champion: Champion
    inputs: np.ndarray
    result: asyncio.Future[Result]
    since: float  # `time.perf_counter`


class Batcher:
    """The request queue of one worker.

    Requests that arrive in the same few iterations of the event loop are run together, up to `max_batch_rows` examples.
    A model with short runs is run on the event loop, since a switch to another thread would take longer.
    """

    def __init__(self, max_batch_rows: int, on_run: OnRun) -> None:
        self._max_batch_rows = max_batch_rows
        self._on_run = on_run
        self._queue: deque[QueuedRequest] = deque()
        self._active = False
        self._loop: asyncio.AbstractEventLoop | None = None  # of the last run
        self._thread = ThreadPoolExecutor(1, "model")

    def predict(self, champion: Champion, inputs: np.ndarray) -> Awaitable[Result]:
        """The outputs for validated examples [N, *shape]; an invalid one would fail all requests of its batch."""
        many = len(inputs) > self._max_batch_rows
        return self._predict_parts(champion, inputs) if many else self._submit(champion, inputs)

    async def _predict_parts(self, champion: Champion, inputs: np.ndarray) -> Result:
        """The outputs for more examples than a run has."""
        size = self._max_batch_rows
        parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        results = [await self._submit(champion, part) for part in parts]  # one at a time, for fairness
        outputs = np.concatenate([result.outputs for result in results])
        queue, run = sum(result.queue for result in results), sum(result.run for result in results)
        return Result(outputs, queue, run, results[0].queued, results[0].started, results[-1].ended)

    def close(self) -> None:
        """Stop the thread after its current run."""
        self._thread.shutdown()

    def _submit(self, champion: Champion, inputs: np.ndarray) -> asyncio.Future[Result]:
        if not self._active:
            self._active = True
            self._loop = asyncio.get_running_loop()  # a system call, so not for each request
            self._loop.call_soon(self._collect, COLLECTING_ITERATIONS)
        queued = QueuedRequest(champion, inputs, asyncio.Future(loop=self._loop), time.perf_counter())
        self._queue.append(queued)
        return queued.result

    def _collect(self, iterations: int) -> None:
        """Run the queue after so many more iterations of the event loop."""
        if iterations:
            asyncio.get_running_loop().call_soon(self._collect, iterations - 1)
        else:
            self._run_queue()

    def _run_queue(self) -> None:
        """Run queued requests until none is left: in the thread, or on the event loop in turns of limited time."""
        deadline = time.perf_counter() + MAX_TURN_SECONDS
        while batch := self._next_batch():
            if not batch[0].champion.inline:
                run = asyncio.get_running_loop().run_in_executor(self._thread, _run, batch)
                run.add_done_callback(partial(self._run_finished, batch))
                return
            self._set_results(batch, partial(_run, batch))
            if time.perf_counter() > deadline:
                asyncio.get_running_loop().call_soon(self._run_queue)
                return
        self._active = False

    def _run_finished(self, batch: list[QueuedRequest], done: asyncio.Future[ModelRun]) -> None:
        self._set_results(batch, done.result)
        self._run_queue()

    def _next_batch(self) -> list[QueuedRequest]:
        """Remove the requests of the next run: the same champion, at most `max_batch_rows` examples."""
        batch: list[QueuedRequest] = []
        rows = 0
        while self._queue:
            head = self._queue[0]
            if batch and (head.champion is not batch[0].champion or rows + len(head.inputs) > self._max_batch_rows):
                break
            self._queue.popleft()
            if not head.result.done():  # done if the request has timed out
                batch.append(head)
                rows += len(head.inputs)
        return batch

    def _set_results(self, batch: list[QueuedRequest], run: Callable[[], ModelRun]) -> None:
        """Set the results of all requests of a batch, or its error; requests that have timed out are skipped."""
        try:
            done = run()
            self._on_run(done.outputs, batch[0].champion, done.started - batch[0].since, done.seconds)
        except Exception as error:  # reported by each request; the queue continues
            for queued in batch:
                if not queued.result.done():
                    queued.result.set_exception(error)
            return
        start, started, seconds = 0, done.started, done.seconds
        for queued in batch:
            end = start + len(queued.inputs)
            if not queued.result.done():
                since, outputs = queued.since, done.outputs[start:end]
                queued.result.set_result(Result(outputs, started - since, seconds, since, started, started + seconds))
            start = end


def _run(batch: list[QueuedRequest]) -> ModelRun:
    """One run of the model over all of the batch."""
    started = time.perf_counter()
    inputs = batch[0].inputs if len(batch) == 1 else np.concatenate([queued.inputs for queued in batch])
    outputs = batch[0].champion.predictor.predict(inputs)
    return ModelRun(outputs, started, time.perf_counter() - started)
