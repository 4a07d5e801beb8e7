"""A check in a process of its own: frameworks must not meet in one, and what hangs or crashes there ends there."""

import json
import subprocess
import sys
from typing import Any

SECONDS = 25  # longest wait for one process


class ApartError(Exception):
    """The process crashed, hung or said nothing; the message is one line."""


def ask(module: str, *arguments: str) -> Any:
    """What `python -m <module> <arguments>` prints as JSON in its last line. Raises ApartError."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ApartError(f"no answer within {SECONDS} s") from error
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise ApartError(said[-1]) from error
