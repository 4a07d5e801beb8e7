"""Repetition of a failed load: an error that may pass is retried, one of the content is not."""

import time

from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, RuntimeException

from models.errors import InputError

FIRST_SECONDS = 1.0
MAX_SECONDS = 60.0
# Of reading or opening the model. ONNX Runtime raises its own for want of memory, on the CPU or a GPU.
TRANSIENT = (OSError, MemoryError, RuntimeException, EPFail)


class Retry:
    """When the next attempt is due: after 1, 2, 4, ... 60 s of transient errors, never after another error."""

    def __init__(self) -> None:
        self._pause = FIRST_SECONDS
        self._due_at: float | None = None

    @property
    def due(self) -> bool:
        """True once it is time for another attempt."""
        return self._due_at is not None and time.monotonic() >= self._due_at

    def reset(self) -> None:
        """Forget the errors: the content has changed, or was loaded."""
        self._pause = FIRST_SECONDS
        self._due_at = None

    def failed(self, error: Exception) -> None:
        """Schedule the next attempt, if the error is transient."""
        self._due_at = time.monotonic() + self._pause if _is_transient(error) else None
        self._pause = min(2 * self._pause, MAX_SECONDS)


def _is_transient(error: Exception) -> bool:
    """False for an InputError about the content: one without a transient cause."""
    return not isinstance(error, InputError) or isinstance(error.__cause__, TRANSIENT)
