"""A process with one runtime, which answers requests of the benchmark: `python -m benchmarks.inference.server NAME`.

It reads lines of JSON from standard input and writes one for each, the first when the model is open: `predict` the
outputs for the first so many validation images, `time` the median duration of a call with a batch of a size.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import json_lines
from benchmarks.inference.runtimes import open_runtime
from models.interfaces import Predict
from models.metrics.latency import time_calls
from pipelines.artifacts import paths, split_files


def main() -> None:
    """Serve until standard input ends."""
    _, name, threads = sys.argv
    warnings.simplefilter("ignore")  # of torch.export about its own buffers
    with json_lines.answers() as write:
        serve(open_runtime(name, int(threads)), write)


def serve(predict: Predict, write: Callable[[Any], None]) -> None:
    """Answer every request."""
    inputs, _ = split_files.read(paths.split("validation"))
    write("open")
    for request in json_lines.requests():
        batch = np.asarray(inputs[np.arange(request["batch"]) % len(inputs)])
        if request["kind"] == "predict":
            write(predict(batch).tolist())
        else:
            write(time_calls([partial(predict, batch)], len(batch), request["seconds"])[0].p50_ms)


if __name__ == "__main__":
    main()
