"""The request that the current task answers, for log lines and spans; set only where one of them needs it."""

from contextvars import ContextVar
from dataclasses import dataclass

from serving.monitoring.tracing import Trace


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request's id, the id of its trace (32 hexadecimal digits, or empty), and its trace if it is exported."""

    request_id: str
    trace_id: str = ""
    trace: Trace | None = None


CURRENT: ContextVar[RequestContext | None] = ContextVar("request", default=None)
