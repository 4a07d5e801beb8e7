"""Greedy batching: whatever has queued is run together at once; nothing ever waits for a timer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from serving.inference.champion import Champion

TURN_SECONDS = 0.005  # longest time that runs hold the event loop before it may read and write again

# Told of each run: its outputs [N, K], its champion, the longest wait and the run in seconds.
Observe = Callable[[np.ndarray, Champion, float, float], None]


class Result(NamedTuple):
    """Outputs [N, K] of one request, and where its time went, in seconds."""

    outputs: np.ndarray
    queue: float
    run: float


class Run(NamedTuple):
    """One run of the model: outputs [N, K], when it began (`time.perf_counter`) and how many seconds it took."""

    outputs: np.ndarray
    started: float
    seconds: float


@dataclass(slots=True)
class Waiting:
    """Examples [n, *shape] in the queue, already validated against this champion's spec."""

    champion: Champion
    inputs: np.ndarray
    answer: asyncio.Future[Result]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """The queue in front of the model in one worker.

    All requests that arrived in one turn of the event loop are run together, up to `run_rows`
    examples. A model whose run is short runs on the loop itself: handing it to a thread would take
    longer. `observe` is told of each run.
    """

    def __init__(self, run_rows: int, observe: Observe) -> None:
        self._run_rows = run_rows
        self._observe = observe
        self._queue: deque[Waiting] = deque()
        self._active = False
        self._thread = ThreadPoolExecutor(1, "model")

    async def predict(self, champion: Champion, inputs: np.ndarray) -> Result:
        """The outputs for examples [N, *shape], validated before: one bad request would fail its neighbours."""
        if len(inputs) <= self._run_rows:
            return await self._submit(champion, inputs)
        pieces = [inputs[start : start + self._run_rows] for start in range(0, len(inputs), self._run_rows)]
        results = [await self._submit(champion, piece) for piece in pieces]  # in turn, so that others get theirs
        outputs = np.concatenate([result.outputs for result in results])
        return Result(outputs, sum(result.queue for result in results), sum(result.run for result in results))

    def close(self) -> None:
        """End the thread; what it runs is finished."""
        self._thread.shutdown()

    def _submit(self, champion: Champion, inputs: np.ndarray) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        waiting = Waiting(champion, inputs, loop.create_future())
        self._queue.append(waiting)
        if not self._active:
            self._active = True
            loop.call_soon(self._next)
        return waiting.answer

    def _next(self) -> None:
        """Run what has queued: for a while on the loop, or in the thread; then what has queued meanwhile."""
        until = time.perf_counter() + TURN_SECONDS
        while batch := self._take():
            if not batch[0].champion.inline:
                run = asyncio.get_running_loop().run_in_executor(self._thread, _run, batch)
                run.add_done_callback(partial(self._ran, batch))
                return
            self._answer(batch, partial(_run, batch))
            if time.perf_counter() > until:
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._active = False

    def _ran(self, batch: list[Waiting], done: asyncio.Future[Run]) -> None:
        self._answer(batch, done.result)
        self._next()

    def _take(self) -> list[Waiting]:
        """The requests at the head that one run can take: the same champion, `run_rows` examples."""
        batch: list[Waiting] = []
        rows = 0
        while self._queue:
            head = self._queue[0]
            if batch and (head.champion is not batch[0].champion or rows + len(head.inputs) > self._run_rows):
                break
            self._queue.popleft()
            if not head.answer.done():  # its request may have timed out
                batch.append(head)
                rows += len(head.inputs)
        return batch

    def _answer(self, batch: list[Waiting], run: Callable[[], Run]) -> None:
        """Give each request its part of the run, or all of them its error. Those who left are skipped."""
        try:
            done = run()
            self._observe(done.outputs, batch[0].champion, done.started - batch[0].since, done.seconds)
        except Exception as error:  # each request reports it; the queue goes on
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        start = 0
        for waiting in batch:
            end = start + len(waiting.inputs)
            if not waiting.answer.done():
                queue = done.started - waiting.since
                waiting.answer.set_result(Result(done.outputs[start:end], queue, done.seconds))
            start = end


def _run(batch: list[Waiting]) -> Run:
    """One run of the model over all of the batch."""
    started = time.perf_counter()
    inputs = batch[0].inputs if len(batch) == 1 else np.concatenate([waiting.inputs for waiting in batch])
    outputs = batch[0].champion.predictor.predict(inputs)
    return Run(outputs, started, time.perf_counter() - started)
