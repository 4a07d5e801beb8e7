"""Large responses: memory is reserved before the model runs, and they are written in blocks.

A response can be much larger than its request: of a thousand labels each takes up to 50 bytes in JSON for each example.
"""

import asyncio
from collections.abc import Callable

import numpy as np

from serving.errors import RequestError
from serving.http.messages import Request
from serving.inference.champion import Champion
from serving.worker import Worker

SMALL_VALUES = 2048  # outputs of a request; the response to more of them is a large one
SMALL_BYTES = 1 << 16  # of further fields of a response; one with more is a large one
BLOCK_VALUES = 4096  # outputs that are written in one turn of the event loop, in about a millisecond
OUTPUT_BYTES = 8  # for each output in memory: that of a run, and that of all runs of the request


def is_large(champion: Champion, examples: int, further: int = 0) -> bool:
    """Return whether the response to so many examples, with `further` bytes beside the outputs, is a large one."""
    return examples * champion.spec.outputs > SMALL_VALUES or further > SMALL_BYTES


def reserve(worker: Worker, request: Request, champion: Champion, examples: int, size: int) -> None:
    """Reserve memory for the outputs and `size` bytes of the response, until it is sent.

    Raises RequestError: 413 if the response takes more than it may, 503 if the memory is in use.
    """
    needed, allowed = size + OUTPUT_BYTES * examples * champion.spec.outputs, worker.settings.max_response_bytes
    if needed > allowed:
        advice = "send fewer examples, or request fewer labels with top_k or binary data"
        message = f"the response takes up to {needed / 1e6:.1f} MB; allowed: {allowed / 1e6:.1f} MB; {advice}"
        raise RequestError(413, "too_large", message)
    request.reserve_response(worker.response_budget, needed)


async def write_list(outputs: np.ndarray, write: Callable[[np.ndarray], bytes]) -> list[bytes]:
    """The content of a JSON list in parts; `write` returns the list of some rows of the outputs [N, K].

    Other requests are answered between two parts.
    """
    rows = max(1, BLOCK_VALUES // outputs.shape[1])
    parts = []
    for start in range(0, len(outputs), rows):
        parts.append((b"," if start else b"") + write(outputs[start : start + rows])[1:-1])
        await asyncio.sleep(0)
    return parts
