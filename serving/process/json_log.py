"""Log lines as JSON, with TANDEM_LOG_FORMAT=json: time, level, logger, message, and the request they belong to.

Applied while the service is imported, in the supervisor and in each worker, before the settings are read, so that
errors of settings are JSON too.
"""

import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from bentoml._internal import log as bentoml_log

from serving.monitoring.request_context import CURRENT, timestamp
from serving.settings import PREFIX

ENABLED = os.environ.get(f"{PREFIX}LOG_FORMAT") == "json"
DRAIN_SECONDS = 1.0  # for the last lines of standard error when the supervisor ends
log = logging.getLogger("bentoml.tandem")


class JsonFormatter(logging.Formatter):
    """One object per record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with the ids of the request and its trace, if it is logged while one is answered."""
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if context := CURRENT.get():
            line |= context.ids()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)  # unlike orjson's, ASCII: a message may quote half of a surrogate pair


def start() -> None:
    """Let this process log JSON: BentoML's handlers, warnings and uncaught exceptions."""
    bentoml_log.SERVER_LOGGING_CONFIG["formatters"]["traced"] = {"()": JsonFormatter}
    bentoml_log.configure_server_logging()
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = lambda failed: _log_exception(
        failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
    )


def _log_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    log.critical("uncaught exception: %s", error or kind.__name__, exc_info=(kind, error, traceback))


def relay_stderr() -> None:
    """Log what is written to standard error, by this process, its children or a native library, line by line.

    Called in the supervisor, whose standard error the other processes inherit.
    """
    reader, writer = os.pipe()
    original = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    thread = threading.Thread(target=_relay, args=(reader,), name="stderr", daemon=True)
    thread.start()
    atexit.register(_stop, original, thread.join)


def _relay(reader: int) -> None:
    with os.fdopen(reader, encoding="utf-8", errors="backslashreplace") as lines:
        for line in lines:
            logging.getLogger("stderr").warning("%s", line.rstrip())


def _stop(original: int, join: Callable[[float], None]) -> None:
    """Write to the original standard error again, once the lines in the pipe are logged."""
    sys.stderr.flush()
    os.dup2(original, 2)
    join(DRAIN_SECONDS)
