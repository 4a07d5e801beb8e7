"""A process with one runtime, which answers requests of the benchmark: `python -m benchmarks.inference.server NAME`.

It reads lines of JSON from standard input and writes one for each, the first when the model is open: `predict` the
outputs for the first so many validation images, `time` the median duration of a call with a batch of a size.
"""

import json
import os
import sys
import warnings
from functools import partial
from typing import TextIO

import numpy as np

from benchmarks.inference.runtimes import open_runtime
from models.interfaces import Predict
from pipelines.artifacts import paths, split_files
from pipelines.metrics.latency import time_calls


def main() -> None:
    """Serve until standard input ends."""
    _, name, threads = sys.argv
    warnings.simplefilter("ignore")  # of torch.export about its own buffers
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        serve(open_runtime(name, int(threads)), answers)


def serve(predict: Predict, answers: TextIO) -> None:
    """Answer every request."""
    inputs, _ = split_files.read(paths.split("validation"))
    _write(answers, "open")
    for line in sys.stdin:
        request = json.loads(line)
        batch = np.asarray(inputs[np.arange(request["batch"]) % len(inputs)])
        if request["kind"] == "predict":
            _write(answers, predict(batch).tolist())
        else:
            _write(answers, time_calls([partial(predict, batch)], len(batch), request["seconds"])[0].p50_ms)


def _write(answers: TextIO, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
