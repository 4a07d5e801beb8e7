"""A line of JSON for a share of the requests, never their content."""

import logging
import random
import sys
import time

import orjson

from serving.http.messages import Request, Response


def instead_of_uvicorn() -> None:
    """Keep uvicorn from putting a line together for each request, which nobody would see."""
    logging.getLogger("uvicorn.access").propagate = False


class Log:
    """Writes about `share` of the requests to standard output."""

    def __init__(self, share: float) -> None:
        self._share = share

    def write(self, request: Request, endpoint: str, response: Response, request_id: bytes, started: float) -> None:
        """One request: what was asked and how it ended, in milliseconds since `started` (a `time.perf_counter`)."""
        if not self._share or random.random() >= self._share:
            return
        line = {
            "time": time.time(),
            "endpoint": endpoint,
            "method": request.method,
            "status": response.status,
            "milliseconds": round((time.perf_counter() - started) * 1e3, 3),
            "request_id": request_id.decode(),
            "bytes": len(response.body),
        }
        sys.stdout.write(orjson.dumps(line).decode() + "\n")
        sys.stdout.flush()
