"""Suppression of start-up messages that frameworks write from C++ at any log level."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Information and warnings of absl, such as `I0000 00:00:1795378097.754692   14840 port.cc:153] ...`, and of gloo.
BANNER = re.compile(rb"[IW]\d{4} \d\d:\d\d:\d|WARNING: All log messages before absl|\[Gloo\] Rank ")

STDOUT, STDERR = 1, 2


@contextmanager
def banners_hidden(descriptor: int = STDERR) -> Iterator[None]:
    """Buffer the output of this process to standard error or output; at the end, write it without the banners."""
    stream = sys.stdout if descriptor == STDOUT else sys.stderr
    with tempfile.TemporaryFile() as held:
        stream.flush()
        original = os.dup(descriptor)
        os.dup2(held.fileno(), descriptor)
        try:
            yield
        finally:
            stream.flush()
            os.dup2(original, descriptor)
            os.close(original)
            held.seek(0)
            for line in held:
                if not BANNER.match(line):
                    os.write(descriptor, line)
