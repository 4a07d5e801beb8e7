"""Which champion answers: one reference, swapped when the bundle changes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from serving.inference import bundle, champion
from serving.inference.champion import Champion
from serving.settings import Settings

Told = Callable[[Literal["loaded", "swapped", "refused"], Champion, Champion], None]
log = logging.getLogger("bentoml.tandem")


class Reloader:
    """Holds the champion, and replaces it by a newer one that has been loaded, warmed and probed.

    Raises InputError where there is none to begin with. Later a bundle that fails any check is
    refused and the old champion goes on. `told` hears what became of each ("loaded", "swapped" or
    "refused"), which champion answers now and which did before. `role` is what the log
    calls it: a challenger is held in the same way.
    """

    def __init__(self, settings: Settings, told: Told, role: Literal["champion", "challenger"] = "champion") -> None:
        self._settings = settings
        self._told = told
        self._role = role
        self._seen = bundle.fingerprint(settings.champion)
        self.champion: Champion = champion.load(settings.champion, settings.device, settings.engines)
        self._told("loaded", self.champion, self.champion)

    async def watch(self) -> None:
        """Look for a change every `poll_seconds`, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.poll()

    async def poll(self) -> None:
        """Look once; the loading happens in a thread, the swap is one assignment."""
        found = await asyncio.to_thread(bundle.fingerprint, self._settings.champion)
        if found == self._seen:
            return
        self._seen = found
        try:
            settings = self._settings
            newer = await asyncio.to_thread(champion.load, settings.champion, settings.device, settings.engines)
        except Exception as error:  # whatever is wrong with the new one, the old one goes on
            self._refuse(error)
        else:
            self._swap(newer)

    def _refuse(self, error: Exception) -> None:
        now = self.champion
        log.warning("new %s refused, %s %s goes on: %s", self._role, now.name, now.version, error)
        self._told("refused", self.champion, self.champion)

    def _swap(self, newer: Champion) -> None:
        if newer.describe() == self.champion.describe():
            return
        log.info("%s %s %s follows %s", self._role, newer.name, newer.version, self.champion.version)
        before, self.champion = self.champion, newer
        self._told("swapped", newer, before)
