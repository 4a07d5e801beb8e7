"""A file of lines that grows to a size and is then set aside; only the newest few are kept."""

import logging
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path


class Lines:
    """`path`, `path.1`, ...: `files` in all, each of at most `size` bytes unless one write alone is larger."""

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._handler = _Handler(path, maxBytes=size, backupCount=files - 1, encoding="utf-8", delay=True)

    def write(self, text: str) -> None:
        """Append whole lines; a newline is added. Raises OSError where that cannot be done."""
        self._handler.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Handler(RotatingFileHandler):
    """The standard library's, but for its silence about errors."""

    def emit(self, record: logging.LogRecord) -> None:
        """Rotate where it is time, and write. Raises OSError."""
        if self.shouldRollover(record):
            self.doRollover()
        if self.stream is None:
            self.stream = self._open()
        try:
            self.stream.write(record.msg + self.terminator)
            self.flush()
        except OSError:
            self._forget()
            raise

    def _forget(self) -> None:
        """Leave the file, so that what could not be written is not tried again with the next line."""
        stream, self.stream = self.stream, None
        with suppress(OSError):
            if stream:
                stream.close()
