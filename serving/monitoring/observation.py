"""Answered requests, as passed to observers after the response has been sent."""

from typing import NamedTuple, Protocol

import numpy as np

from serving.inference.champion import Champion


class Observation(NamedTuple):
    """One request: raw examples [N, *shape] and the champion's outputs [N, K] for them."""

    champion: Champion
    inputs: np.ndarray
    outputs: np.ndarray


class Observer(Protocol):
    """Receives answered requests, as the prediction log and the challenger do; started and stopped by the worker."""

    def record(self, request_id: bytes, observation: Observation, /) -> None:
        """Record an answered request without blocking; raises nothing."""

    async def watch(self) -> None:
        """Process recorded requests, until cancelled."""

    async def close(self) -> None:
        """Finish the work in progress."""
