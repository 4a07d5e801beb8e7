"""The access log: a line of JSON for a share of the requests, without their content."""

import logging
import random
import sys
import time

import orjson

from serving.http.messages import Request, Response


def disable_uvicorn_log() -> None:
    """Keep uvicorn from formatting a line for each request."""
    logging.getLogger("uvicorn.access").propagate = False


class Log:
    """Writes a share of the requests, from 0 to 1, to standard output."""

    def __init__(self, share: float) -> None:
        self._share = share

    def write(self, request: Request, endpoint: str, response: Response, request_id: bytes, started: float) -> None:
        """Write one request and its response; `started` is a `time.perf_counter` in seconds."""
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
