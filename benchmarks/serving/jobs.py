"""Requests to one server: images in the format of a payload, and the expected answers."""

from functools import lru_cache

import numpy as np

from benchmarks.serving import champions
from benchmarks.serving.champions import Served
from benchmarks.serving.load import Job
from benchmarks.serving.servers import Running

VARIANTS = 16  # different requests that a client sends in turn


def make_job(running: Running, served: Served, payload: str, images: int, connections: int, seconds: float) -> Job:
    """Requests of so many images with one payload, for so many seconds."""
    call = running.server.calls[payload]
    requests, expected = tuple(map(call.request, batches(served, images))), _expected(served, images)
    return Job(running.server.port, requests, expected, call.read, connections, seconds)


def batches(served: Served, images: int) -> np.ndarray:
    """Images uint8 [VARIANTS, images, H, W, C]."""
    return champions.pictures(served.spec, VARIANTS * images).reshape(VARIANTS, images, *served.spec.shape)


@lru_cache(8)
def _expected(served: Served, images: int) -> np.ndarray:
    """The expected outputs for `_batches`: float32 [VARIANTS, images, K]."""
    return np.stack([served.expected(batch) for batch in batches(served, images)])
