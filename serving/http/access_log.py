"""The access log: a line of JSON for a share of the requests, without their content."""

import logging
import random
import sys
import time
from typing import Any

import orjson

from serving.http.messages import Request, Response
from serving.monitoring.request_context import RequestContext, timestamp

log = logging.getLogger("bentoml.tandem")


class Log:
    """Writes a share of the requests, from 0 to 1, to standard output; `json` adds what all lines have then."""

    def __init__(self, share: float, json: bool = False) -> None:
        self._share = share
        self._json = json
        self._is_failing = False

    def write(
        self,
        request: Request,
        endpoint: str,
        response: Response,
        request_id: bytes,
        started: float,
        context: RequestContext | None = None,
    ) -> None:
        """Write one request and its response; `started` is a `time.perf_counter` in seconds."""
        if not self._share or random.random() >= self._share:
            return
        line: dict[str, Any] = {"time": time.time()}
        if self._json:
            message = f"{request.method[:20]} {endpoint} {response.status}"
            line = {"time": timestamp(time.time()), "level": "INFO", "logger": "tandem.access", "message": message}
        line |= {
            "endpoint": endpoint,
            "method": request.method,
            "status": response.status,
            "milliseconds": round((time.perf_counter() - started) * 1e3, 3),
            "request_id": request_id.decode(),
            "bytes": response.size,
        }
        if request.key_name:
            line["key"] = request.key_name
        if context:
            line |= context.ids()
        try:
            sys.stdout.write(orjson.dumps(line).decode() + "\n")
            sys.stdout.flush()
            self._is_failing = False
        except OSError as error:  # a full disk, or nobody reads: no reason for a request to fail
            if not self._is_failing:
                log.warning("access log: lines are lost: %s", error)
            self._is_failing = True
