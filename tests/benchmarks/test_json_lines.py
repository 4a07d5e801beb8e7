"""Requests to processes, and what is known of those that end."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import json_lines
from tests.pipelines.workspace import REPOSITORY

SERVER = """
import sys, time
from benchmarks import json_lines
with json_lines.answers() as write:
    print("not an answer", flush=True)
    for request in json_lines.requests():
        time.sleep(request["seconds"])
        if request["seconds"] < 0.1:
            sys.exit(3)
        write(request["seconds"])
"""


def started(folder: Path):
    return json_lines.started([sys.executable, "-c", SERVER], folder, os.environ | {"PYTHONPATH": str(REPOSITORY)})


def test_answers_are_in_the_order_of_the_processes(tmp_path: Path) -> None:
    with started(tmp_path) as first, started(tmp_path) as second:
        first.send(seconds=0.5)
        second.send(seconds=0.1)
        assert json_lines.gather([first, second]) == [0.5, 0.1]
        assert second.ask(seconds=0.2) == 0.2


def test_a_process_that_has_ended_is_reported_while_another_one_waits(tmp_path: Path) -> None:
    with started(tmp_path) as waiting, started(tmp_path) as ended:
        waiting.send(seconds=3600)
        ended.send(seconds=0)
        with pytest.raises(RuntimeError, match=r"ended with status 3$"):
            json_lines.gather([waiting, ended])
        ended.send(seconds=1)
        with pytest.raises(RuntimeError, match=r"ended with status 3$"):
            ended.answer()
    assert waiting.process.returncode < 0
