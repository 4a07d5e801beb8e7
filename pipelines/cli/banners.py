"""TensorFlow greets on standard error from C++, whatever its log level; this keeps the rest of what it says."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Information and warnings of absl, such as `I0000 00:00:1795378097.754692   14840 port.cc:153] ...`.
BANNER = re.compile(rb"[IW]\d{4} \d\d:\d\d:\d|WARNING: All log messages before absl")


@contextmanager
def banners_hidden() -> Iterator[None]:
    """Hold back what this process writes to standard error; afterwards write all of it but the banners."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not BANNER.match(line):
                    os.write(2, line)
