"""A process that trains epochs, alone or as one of several workers: `python -m benchmarks.workers.server FRAMEWORK`.

Answers requests as `benchmarks.json_lines`, the first answer is given when it is connected to the other workers.
"""

import importlib
import os
import sys
import time
from collections.abc import Mapping
from functools import cache

from benchmarks import json_lines
from benchmarks.training.fashion import specification
from models.config import Framework
from models.training import launchers, loop
from models.training.batches import Split, TrainingData
from models.training.class_weights import class_weights
from models.training.device import Device
from models.training.workers import ALONE, Workers
from pipelines.config import params
from pipelines.execution import stage
from pipelines.execution.banners import STDOUT, banners_hidden
from pipelines.sources import by_name


def main() -> None:
    """Serve until standard input ends."""
    framework: Framework = "torch" if sys.argv[1] == "torch" else "keras"
    config = params.read().train.model_copy(update={"device": "cpu", "precision": "float32"})
    with json_lines.answers() as write:
        device = importlib.import_module(f"models.{framework}.device").choose(config)
        workers = connect(framework, device)
        write("connected")
        training = cache(lambda **request: Training(framework, device, workers, **request))
        for request in json_lines.requests():
            write(training(**request).epoch())


def connect(framework: Framework, device: Device) -> Workers:
    """Connect to the other workers, if any."""
    place = launchers.read(framework, os.environ)
    if place is None:
        return ALONE
    with banners_hidden(STDOUT), banners_hidden():
        workers: Workers = importlib.import_module(f"models.{framework}.workers").join(place, device)
    return workers


class Training:
    """A new `cnn` with the parameters of params.yaml, and the images of a source that it is trained on."""

    def __init__(
        self, framework: Framework, device: Device, workers: Workers, data: str, batch_size: int, images: int
    ) -> None:
        settings = params.read()
        changes = {"batch_size": batch_size, "epochs": 1, "minimum_steps": 0}
        self.config = settings.train.model_copy(update=changes)
        self.data = dataset(data, images)
        self.workers = workers
        model = importlib.import_module(f"models.{framework}.cnn").build(self.data.spec, settings.models.cnn)
        weights = class_weights(self.config, self.data.train, self.data.spec.outputs)
        fit = importlib.import_module(f"models.{framework}.fit")
        self.learner = fit.Learner(model, self.config, device, weights, workers)

    def epoch(self) -> Mapping[str, float]:
        """Train an epoch: images per second, validation included, and the mean loss."""
        begin = time.perf_counter()
        arguments = self.learner, self.data, self.config, lambda *_: None, lambda _: None
        (epoch,) = loop.run(*arguments, workers=self.workers)
        rate = len(self.data.train) / (time.perf_counter() - begin)
        return {"images_per_second": rate, "loss": epoch.train_loss}


def dataset(name: str, count: int) -> TrainingData:
    """The first `count` images of a source; two are enough for the validation, which is not what is measured."""
    config = params.read().data.model_copy(update={"source": name})
    raw = by_name.module(config).load(config)
    train, validation = (Split(raw.train_inputs[:size], raw.train_targets[:size]) for size in (count, 2))
    return TrainingData(train, validation, specification(raw))


if __name__ == "__main__":
    stage.run(main)  # with the settings of threads that the stage `train` has
