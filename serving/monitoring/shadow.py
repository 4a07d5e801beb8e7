"""Shadow deployment: a challenger receives requests after the champion has answered them, for comparison only.

Comparisons run one at a time in a thread of low priority; requests that arrive meanwhile are skipped.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from serving.inference import bundle
from serving.inference.champion import Champion
from serving.inference.reloader import Reloader
from serving.inference.retry import Retry
from serving.monitoring.observation import Observation
from serving.monitoring.shadow_metrics import ShadowMetrics
from serving.scheduling import low_priority
from serving.settings import Settings

log = logging.getLogger("bentoml.tandem")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outputs [n, K] of challenger and champion for the same examples, and the challenger's seconds for them."""

    challenger: np.ndarray
    champion: np.ndarray
    seconds: float


class Shadow:
    """Compares the challenger in `folder`, if there is a valid one, with the champion on a share of the requests."""

    def __init__(self, settings: Settings, folder: Path, metrics: ShadowMetrics) -> None:
        self._settings = settings.model_copy(update={"champion": folder})
        self._metrics = metrics
        self._reloader: Reloader | None = None
        self._fingerprint: object = None
        self._retry = Retry()
        self._thread = low_priority.thread("challenger")
        self._running: asyncio.Future[Comparison] | None = None

    @property
    def challenger(self) -> Champion | None:
        """The loaded challenger, if any."""
        return self._reloader.champion if self._reloader else None

    async def watch(self) -> None:
        """Check for a new challenger every `poll_seconds`, until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(self._settings.poll_seconds)

    async def poll(self) -> None:
        """Check once: load the first challenger, or let its reloader check for a newer one."""
        if self._reloader:
            await self._reloader.poll()
            return
        fingerprint = await asyncio.to_thread(bundle.fingerprint, self._settings.champion)
        changed = fingerprint != self._fingerprint
        if changed:
            self._retry.reset()
        if fingerprint and (changed or self._retry.due):
            self._fingerprint = fingerprint
            await self._load(changed)

    async def _load(self, changed: bool) -> None:
        """Load the first challenger, or reject it; an error that is repeated after a pause is not reported again."""
        try:
            on_result = self._metrics.challenger_changed
            self._reloader = await asyncio.to_thread(Reloader, self._settings, on_result, "challenger")
        except Exception as error:  # an unusable challenger must not affect the champion
            self._retry.failed(error)
            if changed:
                log.warning("rejected challenger: %s", error)
                self._metrics.count_rejected()

    def record(self, _request_id: bytes, observation: Observation) -> None:
        """Compare a share of the requests, unless a comparison is still running."""
        challenger = self.challenger
        if challenger is None or random.random() >= self._settings.shadow_share:
            return
        if self._running:
            self._metrics.count_skipped("busy")
        elif not _comparable(challenger, observation.champion):
            self._metrics.count_skipped("incompatible")
        else:
            work = partial(_compare, challenger, observation, self._settings.run_rows)
            self._running = asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._running.add_done_callback(self._finished)

    async def close(self) -> None:
        """Finish the comparison in progress."""
        await asyncio.to_thread(self._thread.shutdown)

    def _finished(self, done: asyncio.Future[Comparison]) -> None:
        self._running = None
        if done.cancelled():
            return
        if error := done.exception():
            log.warning("challenger failed: %s", error)
            self._metrics.count_skipped("failed")
            return
        comparison = done.result()
        self._metrics.record_comparison(comparison.challenger, comparison.champion, comparison.seconds)


def _comparable(challenger: Champion, champion: Champion) -> bool:
    """Return whether both have the same inputs and outputs."""
    first, second = (
        (spec.kind, spec.shape, spec.dtype, spec.features, spec.categories, spec.labels, spec.task, spec.target)
        for spec in (challenger.spec, champion.spec)
    )
    return first == second


def _compare(challenger: Champion, observation: Observation, limit: int) -> Comparison:
    """Run the challenger on the first `limit` examples of a request."""
    started = time.perf_counter()
    outputs = challenger.predictor.predict(observation.inputs[:limit])
    return Comparison(outputs, observation.outputs[:limit], time.perf_counter() - started)
