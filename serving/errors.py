"""An answer that is not a prediction: the status, one sentence for the reader, and a reason for the metrics."""

from models.errors import InputError


class RequestError(InputError):
    """A request that is not answered. `reason` is one of a fixed few words: it becomes a metric's label."""

    def __init__(self, status: int, reason: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers


def invalid(message: str) -> RequestError:
    """The request's content is wrong: 400."""
    return RequestError(400, "invalid", message)


def too_large(message: str) -> RequestError:
    """More bytes than are read: 413. The connection is closed, for the rest is never read."""
    return RequestError(413, "too_large", message, ((b"connection", b"close"),))


def overloaded(message: str) -> RequestError:
    """More requests than are held: 503, come back in a second."""
    return RequestError(503, "overloaded", message, ((b"retry-after", b"1"),))
