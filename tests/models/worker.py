"""One worker of data-parallel trainings, in a process of its own: `python -m tests.models.worker FRAMEWORK FOLDER`.

Trains the cases of FOLDER/cases.pickle one after another; worker 0 writes weights and history of each.
"""

import importlib
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from models.config import ModelConfig, Train
from models.training import launchers
from models.training.batches import TrainingData
from models.training.launchers import Place
from models.training.workers import ALONE, Workers, broadcast


class Case(NamedTuple):
    """One training."""

    architecture: str
    model: ModelConfig
    config: Train


class Trained(NamedTuple):
    """Its result."""

    weights: dict[str, np.ndarray]
    history: list[dict[str, float]]


def train(framework: str, cases: Sequence[Case], data: TrainingData, joins: bool = False) -> list[Trained]:
    """The trainings of one worker, or of one process alone."""

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"models.{framework}.{name}")

    def one(case: Case, device: Any) -> Trained:
        model = module(case.architecture).build(data.spec, case.model)
        own = device if case.config.precision == "auto" else device._replace(precision=case.config.precision)
        arguments = model, data, case.config, own, lambda *_: None, lambda _: None
        history = module("fit").fit(*arguments, workers=workers)
        return Trained(module("store").get_weights(model), [epoch.values() for epoch in history])

    device = module("device").choose(cases[0].config)
    workers: Workers = ALONE
    if joins:
        workers = module("workers").join(place(framework), device)
        for content in (b"", b"of worker 0"):
            assert broadcast(workers, content if workers.rank == 0 else b"another") == content
    trained = []
    for case in cases:
        seed(framework, case.config.seed)
        trained.append(one(case, device))
    return trained


def seed(framework: str, number: int) -> None:
    """As `choose` does, which TensorFlow allows once."""
    if framework == "torch":
        importlib.import_module("torch").manual_seed(number)
    else:
        importlib.import_module("keras").utils.set_random_seed(number)


def place(framework: str) -> Place:
    """Of this process."""
    found = launchers.read(framework, os.environ)  # type: ignore[arg-type]
    assert found is not None
    return found


if __name__ == "__main__":
    framework, folder = sys.argv[1], Path(sys.argv[2])
    found = train(framework, *pickle.loads((folder / "cases.pickle").read_bytes()), joins=True)  # noqa: S301
    (folder / f"{place(framework).rank}.pickle").write_bytes(pickle.dumps([tuple(each) for each in found]))
