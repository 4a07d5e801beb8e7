"""A text file that is rotated at a given size."""

import logging
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path


class RotatingFile:
    """`path`, `path.1`, ...: at most `files` files, each of at most `size` bytes unless a single write is larger."""

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._handler = _Handler(path, maxBytes=size, backupCount=files - 1, encoding="utf-8", delay=True)

    def write(self, text: str) -> None:
        """Append lines and a final newline. Raises OSError."""
        self._handler.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Handler(RotatingFileHandler):
    """The handler of the standard library, except that errors are raised instead of printed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Rotate if necessary, and write. Raises OSError."""
        if self.shouldRollover(record):
            self.doRollover()
        if self.stream is None:
            self.stream = self._open()
        try:
            self.stream.write(record.msg + self.terminator)
            self.flush()
        except OSError:
            self._discard_stream()
            raise

    def _discard_stream(self) -> None:
        """Close the stream, so that its buffer is not written again with the next line."""
        stream, self.stream = self.stream, None
        with suppress(OSError):
            if stream:
                stream.close()
