"""The challenger: it is asked what the champion was asked, once that has been answered, and only compared.

It never answers anybody. One comparison at a time, in a thread that gives way; what comes meanwhile
is passed over.
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
from serving.monitoring.observation import Observation
from serving.monitoring.shadow_metrics import ShadowMetrics
from serving.scheduling import low_priority
from serving.settings import Settings

log = logging.getLogger("bentoml.tandem")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outputs [n, K] of the challenger beside those of the champion, and the challenger's seconds for them."""

    ours: np.ndarray
    theirs: np.ndarray
    seconds: float


class Shadow:
    """Asks the challenger in `folder` about a share of the traffic. One that is missing or bad harms nobody."""

    def __init__(self, settings: Settings, folder: Path, metrics: ShadowMetrics) -> None:
        self._settings = settings.model_copy(update={"champion": folder})
        self._metrics = metrics
        self._reloader: Reloader | None = None
        self._seen: object = None
        self._thread = low_priority.thread("challenger")
        self._running: asyncio.Future[Comparison] | None = None

    @property
    def challenger(self) -> Champion | None:
        """The model that is compared, where there is one."""
        return self._reloader.champion if self._reloader else None

    async def watch(self) -> None:
        """Look for a challenger, and for a newer one, every `poll_seconds`, until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(self._settings.poll_seconds)

    async def poll(self) -> None:
        """Look once, as the champion's own reloader does."""
        if self._reloader:
            await self._reloader.poll()
            return
        found = await asyncio.to_thread(bundle.fingerprint, self._settings.champion)
        if found and found != self._seen:
            self._seen = found
            await self._load()

    async def _load(self) -> None:
        """The first challenger, unless it is a bad one."""
        try:
            self._reloader = await asyncio.to_thread(Reloader, self._settings, self._metrics.challenged, "challenger")
        except Exception as error:  # whatever is wrong with it, the champion answers
            log.warning("challenger refused: %s", error)
            self._metrics.refused()

    def note(self, _request_id: bytes, seen: Observation) -> None:
        """Compare a share of the answers, or pass over where a comparison is still running."""
        challenger = self.challenger
        if challenger is None or random.random() >= self._settings.shadow_share:
            return
        if self._running:
            self._metrics.passed("busy")
        elif not _comparable(challenger, seen.champion):
            self._metrics.passed("incompatible")
        else:
            work = partial(_compare, challenger, seen, self._settings.run_rows)
            self._running = asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._running.add_done_callback(self._compared)

    async def close(self) -> None:
        """Finish the comparison that is running."""
        await asyncio.to_thread(self._thread.shutdown)

    def _compared(self, done: asyncio.Future[Comparison]) -> None:
        self._running = None
        if done.cancelled():
            return
        if error := done.exception():
            log.warning("challenger failed: %s", error)
            self._metrics.passed("failed")
            return
        found = done.result()
        self._metrics.compared(found.ours, found.theirs, found.seconds)


def _comparable(challenger: Champion, champion: Champion) -> bool:
    """Whether both read the same inputs and give outputs of the same meaning."""
    ours, theirs = (
        (spec.kind, spec.shape, spec.dtype, spec.features, spec.categories, spec.labels, spec.task, spec.target)
        for spec in (challenger.spec, champion.spec)
    )
    return ours == theirs


def _compare(challenger: Champion, seen: Observation, most: int) -> Comparison:
    """Ask the challenger about the first `most` examples of what the champion answered."""
    started = time.perf_counter()
    ours = challenger.predictor.predict(seen.inputs[:most])
    return Comparison(ours, seen.outputs[:most], time.perf_counter() - started)
