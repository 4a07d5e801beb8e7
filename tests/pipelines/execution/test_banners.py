import os
import subprocess
import sys

import pytest

from pipelines.execution.banners import STDOUT, banners_hidden
from tests.pipelines.workspace import REPOSITORY

BANNERS = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795378097.754692   14840 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795378097.754692   14840 cuda_executor.cc:1] Unable to register cuFFT factory",
]
KEPT = [
    "E0000 00:00:1795378097.754692   14840 cuda_dnn.cc:8579] Unable to register cuDNN factory",
    "Traceback (most recent call last):",
    "RuntimeWarning: I0000 is not where this begins",
    "",
    "I am a person",
]


def lines_of(text):
    return text.splitlines()


def test_only_banners_are_dropped_and_the_rest_keeps_its_order(capfd):
    with banners_hidden():
        for line in (KEPT[0], *BANNERS, *KEPT[1:]):
            os.write(2, f"{line}\n".encode())
    assert lines_of(capfd.readouterr().err) == KEPT


def test_banners_on_standard_output_are_dropped_too(capfd):
    with banners_hidden(STDOUT):
        os.write(STDOUT, b"[Gloo] Rank 0 is connected to 1 peer ranks. Expected number is : 1\nkept\n")
    assert capfd.readouterr().out == "kept\n"


def test_what_python_writes_is_kept_too(capfd):
    with banners_hidden():
        print("printed", file=sys.stderr)
    assert capfd.readouterr().err == "printed\n"


def test_standard_error_is_back_afterwards_also_after_an_error(capfd):
    def fail():
        with banners_hidden():
            os.write(2, b"before\n")
            raise RuntimeError("no such framework")

    with pytest.raises(RuntimeError, match="no such framework"):
        fail()
    os.write(2, f"{BANNERS[1]}\n".encode())
    assert lines_of(capfd.readouterr().err) == ["before", BANNERS[1]]


def test_a_last_line_without_an_end_and_bytes_that_are_no_text_are_kept(capfdbinary):
    with banners_hidden():
        os.write(2, b"\xff\xfe not UTF-8\nhalf a line")
    assert capfdbinary.readouterr().err == b"\xff\xfe not UTF-8\nhalf a line"


def test_a_process_that_dies_inside_says_why():
    program = (
        "from pipelines.execution.banners import STDOUT, banners_hidden\n"
        "with banners_hidden():\n"
        "    raise SystemExit('error: no such framework')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: no such framework\n")
