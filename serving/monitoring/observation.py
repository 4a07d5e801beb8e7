"""What was asked and what was answered, for those who look on once the answer is sent."""

from typing import NamedTuple, Protocol

import numpy as np

from serving.inference.champion import Champion


class Observation(NamedTuple):
    """One request: raw examples [N, *shape] and the outputs [N, K] that this champion gave for them."""

    champion: Champion
    inputs: np.ndarray
    outputs: np.ndarray


class Observer(Protocol):
    """The prediction log, or the challenger: started and stopped with the worker."""

    def note(self, request_id: bytes, seen: Observation, /) -> None:
        """Take note of an answered request by its id; return at once, raise nothing."""

    async def watch(self) -> None:
        """Do the work beside the event loop, until cancelled."""

    async def close(self) -> None:
        """Finish what was begun."""
