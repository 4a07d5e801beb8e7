"""Hot reload: one reference to the served champion, replaced when the bundle changes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from models.manifest import MANIFEST
from serving.inference import bundle, champion
from serving.inference.champion import Champion
from serving.inference.retry import Retry
from serving.settings import Settings

OnResult = Callable[[Literal["loaded", "swapped", "refused"], Champion, Champion], None]
log = logging.getLogger("bentoml.tandem")


class Reloader:
    """Holds the champion and replaces it with a newer one once that is loaded, verified and warmed up.

    Raises InputError if no champion can be loaded at the start. A later bundle that fails a check is rejected and the
    current champion kept; one that could not be read or loaded is tried again later. `on_result` receives the result
    ("refused" for a rejection), the champion in use and the one before. `role` is the name in the log.
    """

    def __init__(
        self, settings: Settings, on_result: OnResult, role: Literal["champion", "challenger"] = "champion"
    ) -> None:
        self._settings = settings
        self._on_result = on_result
        self._role = role
        self._fingerprint = bundle.fingerprint(settings.champion)
        self._retry = Retry()
        self.champion: Champion = self._load()
        self._on_result("loaded", self.champion, self.champion)

    async def watch(self) -> None:
        """Check for a new bundle every `poll_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.poll()

    async def poll(self) -> None:
        """Check once; a new champion is loaded in a thread and swapped in by one assignment."""
        fingerprint = await asyncio.to_thread(bundle.fingerprint, self._settings.champion)
        changed = fingerprint != self._fingerprint
        if not (changed or self._retry.due):
            return
        if changed:
            self._retry.reset()
        self._fingerprint = fingerprint
        try:
            newer = await asyncio.to_thread(self._load)
        except Exception as error:  # an unusable new champion must not stop the current one
            self._retry.failed(error)
            if changed:
                self._reject(error)
        else:
            self._retry.reset()
            self._swap(newer)

    def _load(self) -> Champion:
        settings = self._settings
        return champion.load(
            settings.champion, settings.device, settings.engines, settings.verify_key, settings.gpu_memory_bytes
        )

    def _reject(self, error: Exception) -> None:
        current = self.champion
        if MANIFEST in (name for name, *_ in self._fingerprint):
            log.warning("rejected new %s, keeping %s %s: %s", self._role, current.name, current.version, error)
        else:
            place = self._settings.champion / MANIFEST
            log.warning("%s was removed, keeping %s %s %s", place, self._role, current.name, current.version)
        self._on_result("refused", self.champion, self.champion)

    def _swap(self, newer: Champion) -> None:
        if newer.to_dict() == self.champion.to_dict():
            return
        log.info("%s %s %s replaces version %s", self._role, newer.name, newer.version, self.champion.version)
        before, self.champion = self.champion, newer
        self._on_result("swapped", newer, before)
