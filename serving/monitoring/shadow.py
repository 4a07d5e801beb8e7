"""Shadow deployment: a challenger receives requests after the champion has answered them, for comparison only.

Comparisons run one at a time in a thread of low priority; requests that arrive meanwhile are skipped.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.spec import DataSpec
from serving.inference import bundle
from serving.inference.champion import Champion
from serving.inference.reloader import Reloader
from serving.inference.retry import Retry
from serving.monitoring.observation import Observation
from serving.monitoring.shadow_metrics import ShadowMetrics
from serving.scheduling import low_priority
from serving.settings import Settings

# Called with the challenger, the number of examples with different predictions, and the number of examples.
OnComparison = Callable[[Champion, int, int], None]
TOLERANCE = 0.1  # of two values of a regression, in standard deviations of the target
log = logging.getLogger("bentoml.tandem")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outputs [n, K] of challenger and champion for the same examples, and the challenger's seconds for them.

    The seconds are None where the challenger has answered and the champion was run for comparison.
    """

    challenger: np.ndarray
    champion: np.ndarray
    seconds: float | None


class Shadow:
    """Compares the challenger in `folder`, if there is a valid one, with the champion on a share of the requests."""

    def __init__(
        self, settings: Settings, folder: Path, metrics: ShadowMetrics, champion: Callable[[], Champion]
    ) -> None:
        self._champion = champion
        self.on_comparison: OnComparison = lambda _challenger, _differing, _examples: None
        self._settings = settings.model_copy(update={"champion": folder})
        self._metrics = metrics
        self._reloader: Reloader | None = None
        self._fingerprint: object = None
        self._retry = Retry()
        self._thread = low_priority.thread("challenger")
        self._running: asyncio.Future[Comparison] | None = None
        self._failed = ""  # SHA-256 of the challenger whose failure was logged last

    @property
    def champion(self) -> Champion:
        """The served model."""
        return self._champion()

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
        is_canary = observation.champion is challenger
        is_current = is_canary or observation.champion is self.champion  # not replaced since it has answered
        other = self.champion if is_canary else challenger
        if self._running:
            self._metrics.count_skipped("busy")
        elif not is_current or not comparable(other, observation.champion):
            self._metrics.count_skipped("incompatible")
        else:
            work = partial(_compare, other, observation, self._settings.run_rows, is_canary)
            self._running = asyncio.get_running_loop().run_in_executor(self._thread, work)
            self._running.add_done_callback(partial(self._finished, challenger))

    async def close(self) -> None:
        """Finish the comparison in progress."""
        await asyncio.to_thread(self._thread.shutdown)

    def _finished(self, challenger: Champion, done: asyncio.Future[Comparison]) -> None:
        self._running = None
        if done.cancelled():
            return
        if error := done.exception():
            if challenger.sha256 != self._failed:  # once, as each request may fail; the metrics have their number
                log.warning("comparison with the challenger failed: %s", error)
            self._failed = challenger.sha256
            self._metrics.count_skipped("failed")
            return
        comparison = done.result()
        self._metrics.record_comparison(comparison.challenger, comparison.champion, comparison.seconds)
        different = differing(comparison.challenger, comparison.champion, challenger.spec)
        self.on_comparison(challenger, different, len(comparison.champion))


def differing(first: np.ndarray, second: np.ndarray, spec: DataSpec) -> int:
    """The number of examples with different predictions: another label, or not finite.

    Values of a regression differ by more than a tenth of the standard deviation of the target.
    """
    if spec.is_classification:
        agree = (first.argmax(axis=1) == second.argmax(axis=1)) & np.isfinite(first).all(axis=1)
    else:
        agree = np.abs(first - second)[:, 0] <= TOLERANCE * spec.target_std
    return len(first) - int(agree.sum())


def comparable(challenger: Champion, champion: Champion) -> bool:
    """Return whether both have the same inputs and outputs."""
    first, second = (
        (spec.kind, spec.shape, spec.dtype, spec.features, spec.categories, spec.labels, spec.task, spec.target)
        for spec in (challenger.spec, champion.spec)
    )
    return first == second


def _compare(other: Champion, observation: Observation, limit: int, is_canary: bool) -> Comparison:
    """Run the other model on the first `limit` examples of a request; the challenger has answered if `is_canary`."""
    started = time.perf_counter()
    outputs = other.predictor.predict(observation.inputs[:limit])
    if is_canary:
        return Comparison(observation.outputs[:limit], outputs, None)
    return Comparison(outputs, observation.outputs[:limit], time.perf_counter() - started)
