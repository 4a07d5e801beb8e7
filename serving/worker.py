"""The components of one worker process (champion, queue, metrics, observers), started and stopped together."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from weakref import ref

from serving.canary.canary import Canary
from serving.canary.metrics import CanaryMetrics
from serving.http.api_keys import ApiKeys
from serving.http.large_bodies import LargeBodies
from serving.http.messages import MemoryBudget
from serving.inference import bundle
from serving.inference.champion import Champion
from serving.inference.champion_layers import Activations
from serving.inference.reloader import Reloader
from serving.monitoring import tracing
from serving.monitoring.metrics import Metrics
from serving.monitoring.observation import Observation, Observer
from serving.monitoring.prediction_log import PredictionLog
from serving.monitoring.shadow import Shadow
from serving.monitoring.shadow_metrics import ShadowMetrics
from serving.process import supervision
from serving.scheduling import low_priority
from serving.scheduling.batcher import Batcher
from serving.scheduling.deadlines import Deadlines
from serving.scheduling.image_decoder import ImageDecoder
from serving.scheduling.load_estimate import LoadEstimate
from serving.scheduling.shared_work import SharedWork
from serving.settings import Settings

MAX_ACTIVATIONS = 16  # requests for activations in progress: a thread computes one after another
RESPONSES = 4  # of the largest size for which there is memory
RESTART_SECONDS = 1.0  # pause before a background task that has failed starts again
log = logging.getLogger("bentoml.tandem")


class Worker:
    """`index` is this worker's number, `client_schema` returns the schema for BentoML's typed client as JSON.

    Raises InputError if no champion can be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics | None = None,
        index: int = 0,
        client_schema: Callable[[], bytes] = lambda: b"{}",
    ) -> None:
        self.settings = settings
        self.client_schema = client_schema
        self.metrics = metrics or Metrics()
        self.reloader = Reloader(settings, self.metrics.champion_changed)
        self.batcher = Batcher(settings.run_rows, self.metrics.record_run)
        self.image_decoder = ImageDecoder(settings.max_pixels)
        self.deadlines = Deadlines(settings.timeout_seconds, settings.turn_seconds)
        self.load = LoadEstimate()
        self.shared_work = SharedWork()
        self.documents: dict[bool, tuple[ref[Champion], bytes]] = {}  # of OpenAPI, with and without names
        self.memory_budget = MemoryBudget(settings.max_held_bytes)
        self.response_budget = MemoryBudget(RESPONSES * settings.max_response_bytes)
        self.large_bodies = LargeBodies(self.memory_budget)
        self.activations = Activations(settings)
        self.activations_thread = low_priority.thread("activations")
        self.activations_places = asyncio.Semaphore(MAX_ACTIVATIONS)
        self.prediction_log: PredictionLog | None = None
        if settings.prediction_log:
            self.prediction_log = PredictionLog(settings, settings.prediction_log, index, self.metrics.count_logged)
        self.shadow: Shadow | None = None
        if settings.challenger:
            shadow_metrics = ShadowMetrics(self.metrics.registry)
            self.shadow = Shadow(settings, settings.challenger, shadow_metrics, lambda: self.champion)
        self.canary: Canary | None = None
        if self.shadow and settings.challenger and settings.canary_share:
            canary_metrics = CanaryMetrics(self.metrics.registry)
            on_run = self.metrics.record_run
            self.canary = Canary(settings, settings.challenger, self.shadow, canary_metrics, on_run)
        self._observers: list[Observer] = [observer for observer in (self.prediction_log, self.shadow) if observer]
        self.api_keys = ApiKeys(settings, supervision.shared_folder(), self.metrics.count_key)
        self.tracing = tracing.from_environment()
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def champion(self) -> Champion:
        """The served model."""
        return self.reloader.champion

    def observe(self, request_id: bytes, observation: Observation) -> None:
        """Pass an answered request to all observers."""
        for observer in self._observers:
            observer.record(request_id, observation)

    async def start(self) -> None:
        """Start the background tasks, and become ready."""
        loops = [self.reloader.watch, self.deadlines.watch, self._flush, self.api_keys.watch]
        loops += [observer.watch for observer in self._observers]
        loops += [self.canary.watch] if self.canary else []
        self._tasks = [asyncio.create_task(_run(loop)) for loop in loops]
        if self.champion.spec.kind == "image":
            await asyncio.to_thread(self.image_decoder.start)
        gc.collect()
        gc.freeze()  # loaded objects are permanent: exclude them from collections
        gc.set_threshold(10_000, 20, 20)  # requests create hardly any reference cycles
        self.ready = True

    async def stop(self) -> None:
        """Stop the background tasks; the server has finished all requests before it calls this."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        self.metrics.flush()
        self.batcher.close()
        if self.canary:
            self.canary.close()
        self.image_decoder.close()
        self.activations_thread.shutdown(cancel_futures=True)
        for observer in self._observers:
            await observer.close()
        if self.tracing:
            await self.tracing.close()

    async def _flush(self) -> None:
        """Update the counters every second: any worker may report those of all."""
        while True:
            await asyncio.sleep(1)
            if (age := bundle.registry_age(self.settings.champion)) is not None:
                self.metrics.set_registry_age(age)
            self.metrics.flush()


async def _run(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a background task. If it fails, the error is logged and the task starts again, as the service needs it."""
    while True:
        try:
            return await loop()
        except Exception:
            log.exception("a background task failed; it starts again in %s s", RESTART_SECONDS)
            await asyncio.sleep(RESTART_SECONDS)
