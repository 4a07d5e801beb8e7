"""All that answers in one worker: the champion, its queue and the counters, started and stopped together."""

import asyncio
import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from serving.batcher import Batcher
from serving.champion import Champion
from serving.deadlines import Deadlines
from serving.metrics import Metrics
from serving.reload import Reloader
from serving.settings import Settings


class Engine:
    """Raises InputError where there is no champion that can be served."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.reloader = Reloader(settings, self.metrics.crowned)
        self.batcher = Batcher(settings.run_rows, self.metrics.ran)
        self.decoder = ThreadPoolExecutor(1, "decoder", _give_way)  # one, for a decoded photograph is 64 MB
        self.deadlines = Deadlines(settings.timeout_seconds)
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def champion(self) -> Champion:
        """The model that answers now."""
        return self.reloader.champion

    async def start(self) -> None:
        """Watch for a newer champion and for late requests, and be ready."""
        watches = (self.reloader.watch(), self.deadlines.watch(), self._flush())
        self._tasks = [asyncio.create_task(watch) for watch in watches]
        gc.collect()
        gc.freeze()  # what is loaded stays: the collector need not walk it again and again
        gc.set_threshold(10_000, 20, 20)  # a request leaves hardly any cycles
        self.ready = True

    async def stop(self) -> None:
        """Be ready no longer; what has queued is finished by the server before this is called."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        self.batcher.close()
        self.decoder.shutdown(cancel_futures=True)

    async def _flush(self) -> None:
        """Keep the counters fresh for the other workers, which may be asked for them."""
        while True:
            await asyncio.sleep(1)
            self.metrics.flush()


def _give_way() -> None:
    """Let the event loop go before the calling thread. Only Linux has a niceness for each thread."""
    if sys.platform == "linux":
        os.nice(10)
