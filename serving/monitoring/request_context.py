"""The request that the current task answers, for log lines and spans; set only where one of them needs it."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass

from serving.monitoring.tracing import Trace


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request's id, the id of its trace (32 hexadecimal digits, or empty), and its trace if it is exported."""

    request_id: str
    trace_id: str = ""
    trace: Trace | None = None

    def ids(self) -> dict[str, str]:
        """The ids, where there is one, by their names in log lines."""
        return {"request_id": self.request_id} | ({"trace_id": self.trace_id} if self.trace_id else {})


# Versions after 00 may have further fields (W3C Trace Context, section 4.3).
TRACEPARENT = re.compile(
    rb"(?!ff|00.{53}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def client_trace_id(traceparent: bytes) -> str:
    """The trace id of the header `traceparent` (W3C Trace Context), or nothing."""
    parts = TRACEPARENT.fullmatch(traceparent)
    return parts[1].decode() if parts else ""


def timestamp(seconds: float) -> str:
    """Seconds since the epoch in UTC, as in 2026-11-22T12:00:00.000Z."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"


CURRENT: ContextVar[RequestContext | None] = ContextVar("request", default=None)
