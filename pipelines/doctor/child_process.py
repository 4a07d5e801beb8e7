"""Checks in child processes: frameworks cannot share a process, and a check may hang or crash."""

import json
import subprocess
import sys
from typing import Any

TIMEOUT = 180  # seconds; on a busy machine the first import of TensorFlow takes more than 60


class CheckProcessError(Exception):
    """The process crashed, timed out or printed nothing; the message is one line."""


def run(module: str, *arguments: str) -> Any:
    """The JSON that `python -m <module> <arguments>` prints in its last line. Raises CheckProcessError."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckProcessError(f"no answer within {TIMEOUT} s") from error
    try:
        return json.loads(completed.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        lines = completed.stderr.strip().splitlines() or [f"ended with status {completed.returncode}"]
        raise CheckProcessError(lines[-1]) from error
