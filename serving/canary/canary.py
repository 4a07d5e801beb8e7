"""Canary release: the challenger answers a share of the requests until it exceeds a limit.

Each worker checks its own requests; the first that finds a limit exceeded rolls the challenger back for all workers,
by a file in the challenger's folder. A request that the challenger fails to answer is answered by the champion.
"""

import asyncio
import logging
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from serving.canary import rollback
from serving.canary.metrics import CanaryMetrics, State
from serving.canary.window import Window
from serving.http.messages import Request
from serving.inference.champion import Champion
from serving.monitoring.shadow import Shadow, comparable
from serving.scheduling.batcher import Batcher, OnRun, Result
from serving.settings import Settings

MAX_WAITING = 32  # requests that wait for the challenger at a time; the champion answers further ones
MAX_WAIT_SHARE = 0.5  # of the challenger's time limit that they are expected to wait
FORCED = (b"always", b"never")  # values of `x-canary`
log = logging.getLogger("bentoml.tandem")


class Canary:
    """Selects requests for the challenger in `folder`, which `shadow` loads and compares; runs it in its own thread."""

    def __init__(self, settings: Settings, folder: Path, shadow: Shadow, metrics: CanaryMetrics, on_run: OnRun) -> None:
        self._settings = settings
        self._folder = folder
        self._shadow = shadow
        self._metrics = metrics
        self._batcher = Batcher(settings.run_rows, on_run)
        self._models: tuple[Champion | None, Champion | None] = (None, None)
        self._threaded: Champion | None = None  # the challenger, never run on the event loop
        self._failed = ""  # SHA-256 of the challenger whose failure was logged last
        self._waiting = 0
        self._run_seconds = self._champion_run_seconds = 0.0  # of the latest run of each model; 0 before the first
        self._is_recorded = True
        self._reset("waiting")
        shadow.on_comparison = self.compared

    def _reset(self, state: State) -> None:
        """Enter a state with no requests counted."""
        self.state: State = state
        self._window = Window(self._settings)
        self._metrics.set_state(state)

    def to_dict(self) -> dict[str, object]:
        """State, share and challenger, for `GET /model`."""
        challenger = self._shadow.challenger
        version = challenger.version if challenger else None
        return {"state": self.state, "share": self._settings.canary_share, "version": version}

    def select(self, champion: Champion, request: Request, examples: int) -> Champion | None:
        """The challenger, if it is to answer this request: not one of more examples than a run of the model has.

        The header `x-canary: always` or `never` decides; otherwise the share, by a hash of the client's
        `x-request-id`, or at random.
        """
        challenger = self._shadow.challenger
        if champion is not self._shadow.champion:
            return None  # the request began before the champion changed
        if champion is not self._models[0] or challenger is not self._models[1]:
            self._models_changed(champion, challenger)
        if self.state != "active" or examples > self._settings.run_rows or self._is_busy():
            return None
        choice = request.header(b"x-canary")
        if choice in FORCED:
            return challenger if choice == b"always" else None
        given_id = request.header(b"x-request-id")
        number = zlib.crc32(given_id) / 2**32 if given_id else random.random()
        return challenger if number < self._settings.canary_share else None

    def _is_busy(self) -> bool:
        """True while so many requests wait for the challenger that another one could exceed its time limit."""
        wait = self._waiting * (self._run_seconds or self._champion_run_seconds)
        return self._waiting >= MAX_WAITING or wait > MAX_WAIT_SHARE * self._settings.canary_timeout_seconds

    async def predict(self, inputs: np.ndarray, request: Request) -> Result | str:
        """The challenger's outputs for examples [N, *shape], or why there are none."""
        assert self._threaded
        request.leave_load()  # others do not wait for it
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.canary_timeout_seconds):
                result = await self._batcher.predict(self._threaded, inputs)
        except TimeoutError:
            self._run_seconds = self._settings.canary_timeout_seconds
            return "timeout"
        except Exception as error:  # the champion answers
            if self._threaded.sha256 != self._failed:  # once, as each request may fail; the metrics have their number
                log.warning("challenger failed: %s", error)
            self._failed = self._threaded.sha256
            return "failed"
        finally:
            self._waiting -= 1
        self._run_seconds = result.run
        return result if np.isfinite(result.outputs).all() else "failed"

    def answered(self, challenger: Champion, result: Result, request: Request) -> None:
        """Count an answer of the challenger."""
        if challenger is not self._models[1]:
            return
        self._metrics.count_request("answered")
        if not _is_forced(request):
            self._window.errors.add(0)
            self._window.seconds.add(result.run)
            self._check()

    def failed(self, challenger: Champion, why: str, request: Request) -> None:
        """Count a request that the challenger did not answer, and the champion did."""
        if challenger is not self._models[1]:
            return
        self._metrics.count_request("timeout" if why == "timeout" else "failed")
        if not _is_forced(request):
            self._window.errors.add(1)
            self._check()

    def champion_answered(self, result: Result, request: Request, examples: int) -> None:
        """Note the time that the champion took, for requests that the challenger could have answered."""
        if examples <= self._settings.run_rows and not _is_forced(request):
            self._champion_run_seconds = result.run
            self._window.champion_seconds.add(result.run)

    def compared(self, challenger: Champion, differing: int, examples: int) -> None:
        """Note a comparison of the outputs of both models."""
        if challenger is self._models[1]:
            self._window.differing.add(differing, examples)
            self._check()

    async def watch(self) -> None:
        """Follow rollbacks by other workers, and their reset, every `poll_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.poll()

    async def poll(self) -> None:
        """Check once whether the challenger is rolled back."""
        challenger, state = self._models[1], self.state
        if challenger is None or state not in ("active", "rolled_back"):
            return
        is_rolled_back = await asyncio.to_thread(rollback.is_rolled_back, self._folder, challenger)
        if challenger is not self._models[1] or state != self.state or not self._is_recorded:
            return  # changed meanwhile
        if is_rolled_back != (self.state == "rolled_back"):
            self._reset("rolled_back" if is_rolled_back else "active")
            log.warning("canary: challenger %s is %s", challenger.version, self.state.replace("_", " "))

    def close(self) -> None:
        """Stop the thread after its current run."""
        self._batcher.close()

    def _models_changed(self, champion: Champion, challenger: Champion | None) -> None:
        """Start again with other models."""
        self._models = (champion, challenger)
        self._is_recorded = True
        self._run_seconds = 0.0
        self._threaded = replace(challenger, inline=False) if challenger else None
        if challenger is None:
            self._reset("waiting")
        elif not comparable(challenger, champion):
            self._reset("incompatible")
        else:
            self._reset("rolled_back" if rollback.is_rolled_back(self._folder, challenger) else "active")

    def _check(self) -> None:
        """Roll the challenger back if it exceeds a limit."""
        challenger = self._models[1]
        if self.state != "active" or challenger is None or (violation := self._window.violation()) is None:
            return
        reason, message = violation
        self._reset("rolled_back")
        self._metrics.count_rollback(reason)
        log.warning("canary: challenger %s %s rolled back: %s", challenger.name, challenger.version, message)
        try:
            rollback.write(self._folder, challenger, f"{reason}: {message}")
        except OSError as error:
            self._is_recorded = False  # stays rolled back in this worker; each other one finds out for itself
            log.error("canary: the rollback is not known to other workers: %s", error)


def _is_forced(request: Request) -> bool:
    """Return whether the client has chosen the model: such requests could cause or prevent a rollback."""
    return request.header(b"x-canary") in FORCED
