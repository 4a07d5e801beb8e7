"""Latency of exported graphs in ONNX Runtime."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from models.metrics import latency
from models.metrics.latency import Latency
from models.onnx.session import Session


def time_sessions(
    sessions: Sequence[Session], inputs: np.ndarray, batch_size: int, seconds: float, minimum: int = latency.MIN_CALLS
) -> list[Latency]:
    """Time interleaved runs of several graphs, as `latency.time_calls` does.

    `inputs` [N, ...] are repeated where they do not fill a batch.
    """
    batch = np.asarray(inputs[np.arange(batch_size) % len(inputs)])
    calls = [partial(session.run, None, {session.get_inputs()[0].name: batch}) for session in sessions]
    return latency.time_calls(calls, batch_size, seconds, minimum)
