"""Errors in response to a request."""

from models.errors import InputError


class RequestError(InputError):
    """A rejected request: HTTP status, message, and `reason`, a label of the metrics from a fixed set."""

    def __init__(self, status: int, reason: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers


def invalid(message: str) -> RequestError:
    """400: invalid content."""
    return RequestError(400, "invalid", message)


def too_large(message: str) -> RequestError:
    """413: body above the limit. The connection is closed, as the rest of the body is not read."""
    return RequestError(413, "too_large", message, ((b"connection", b"close"),))


def overloaded(message: str) -> RequestError:
    """503: no capacity; `Retry-After` is one second."""
    return RequestError(503, "overloaded", message, ((b"retry-after", b"1"),))
