"""A process that answers requests: a line of JSON for each on its standard input, and one for its answer."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Server:
    """The process, as the one that sends requests sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, **request: Any) -> Any:
        """The answer to a request. Raises RuntimeError if the process has ended."""
        self.send(**request)
        return self.answer()

    def send(self, **request: Any) -> None:
        """Send a request, whose answer has to be read afterwards."""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # the process has ended, which `answer` reports
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def answer(self) -> Any:
        """The next answer. Raises RuntimeError if the process has ended."""
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{' '.join(map(str, self.process.args))}: ended with status {self.process.wait()}")  # type: ignore[arg-type]
        return json.loads(line)


@contextmanager
def started(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """The process of a command in a folder, which is killed at the end of the block."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True)
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()


def gather(servers: Sequence[Server]) -> list[Any]:
    """The next answer of each. Raises RuntimeError as soon as one has ended, whatever the others wait for."""
    received: dict[Server, Any] = {}
    while len(received) < len(servers):
        pending = {each.process.stdout: each for each in servers if each not in received and each.process.stdout}
        ready, _, _ = select.select(list(pending), [], [])
        received |= {pending[stream]: pending[stream].answer() for stream in ready}
    return [received[each] for each in servers]


@contextmanager
def answers() -> Iterator[Callable[[Any], None]]:
    """In the process: a function that writes an answer. What libraries print goes to standard error meanwhile."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)

        def write(value: Any) -> None:
            stream.write(json.dumps(value) + "\n")
            stream.flush()

        yield write


def requests() -> Iterator[Any]:
    """In the process: the requests, until standard input ends."""
    return map(json.loads, sys.stdin)
