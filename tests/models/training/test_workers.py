"""Several workers train as one process does."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.config import Augment, Framework, Train
from models.errors import InputError
from models.training import launchers
from models.training.batches import Split, TrainingData
from models.training.workers import LostWorkerError, Workers
from pipelines.execution.ports import free_ports
from tests.models.conftest import CONFIGS, FRAMEWORKS
from tests.models.worker import Case, Trained, train

EXAMPLES = 613  # 20 batches of 31 or 30 examples, so that the parts of two workers differ too
LIMIT = 1e-4  # of a difference of weights after 20 steps


def changed(architecture: str, **changes: Any) -> Any:
    return CONFIGS[architecture].model_copy(update=changes)


def cases(framework: Framework, config: Train) -> list[Case]:
    """With batch normalisation, class weights, augmentation and dropout. Smooth, so that rounding changes no branch."""
    config = config.model_copy(update={"epochs": 1, "batch_size": 31, "workers": 2, "class_weights": "balanced"})
    mixed = {"augment": Augment(shift=1, flip=True, mixup=0.3), "epochs": 2, "keep": "best"}
    found = [
        Case("cnn", changed("cnn", activation="silu"), config),
        Case("mlp", changed("mlp", activation="tanh", normalization="batch"), config.model_copy(update=mixed)),
        *(
            Case("mlp", changed("mlp", normalization="batch"), config.model_copy(update={"precision": precision}))
            for precision in ("bfloat16", "float16")
        ),
    ]
    again = {"optimizer": "lbfgs", "learning_rate": 0.001}
    several = Case("mlp", changed("mlp", activation="tanh", dropout=0.0), config.model_copy(update=again))
    return [*found, several] if framework == "torch" else found


def train_by_workers(framework: Framework, size: int, folder: Path, *given: Any) -> list[list[Trained]]:
    """What each worker has at the end."""
    (folder / "cases.pickle").write_bytes(pickle.dumps(given))
    addresses = [f"127.0.0.1:{port}" for port in free_ports(size)]
    command = [sys.executable, "-m", "tests.models.worker", framework, str(folder)]
    environments = [os.environ | launchers.write(framework, addresses, rank, rank) for rank in range(size)]
    processes = [subprocess.Popen(command, env=environment) for environment in environments]
    assert [process.wait(timeout=300) for process in processes] == [0] * size
    found = [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]  # noqa: S301
    return [[Trained(*each) for each in own] for own in found]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_two_workers_match_one_process(
    framework: Framework, digits: Split, data: TrainingData, train_config: Train, tmp_path: Path
) -> None:
    data = TrainingData(Split(digits.inputs[:EXAMPLES], digits.targets[:EXAMPLES]), data.validation, data.spec)
    given = cases(framework, train_config)
    expected = train(framework, given, data)
    first, second = train_by_workers(framework, 2, tmp_path, given, data)
    for case, alone, found, other in zip(given, expected, first, second, strict=True):
        assert_equal(found, other, 0.0, case)  # each worker has the same numbers, to the last bit
        if case.config.precision == "float32":
            assert_equal(found, alone, LIMIT, case)
        else:
            norms, expected_norms = ([epoch["gradient_norm"] for epoch in each.history] for each in (found, alone))
            assert norms == pytest.approx(expected_norms, rel=1e-2), case


def assert_equal(found: Trained, expected: Trained, limit: float, case: Case) -> None:
    for name, array in expected.weights.items():
        np.testing.assert_allclose(found.weights[name], array, rtol=0, atol=limit, err_msg=f"{case}: {name}")
    for epoch, values in zip(found.history, expected.history, strict=True):
        for name in values.keys() - {"examples_per_second"}:
            assert epoch[name] == pytest.approx(values[name], rel=limit), (case, name)


def test_a_lost_worker_of_tensorflow_is_named_by_the_cause_behind_the_traceback() -> None:
    import tensorflow as tf

    from models.keras.workers import errors_named

    text = "Graph execution error:\n\nDetected at node A\n\nCollective ops is aborted by: no route\nThe error could be"
    with (
        pytest.raises(LostWorkerError, match=r"cannot be reached: Collective ops is aborted by: no route$"),
        errors_named(),
    ):
        raise tf.errors.UnavailableError(None, None, text)
    with pytest.raises(LostWorkerError, match=r"cannot be reached: Socket closed$"), errors_named():
        raise tf.errors.UnavailableError(None, None, "Socket closed")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [7, 8, 31])
def test_the_workers_have_each_row_once_in_parts_of_about_one_size(size: int, total: int) -> None:
    parts = [Workers(rank, size).part(np.arange(total), total) for rank in range(size)]
    assert np.concatenate(parts).tolist() == list(range(total))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 0


def test_there_is_an_example_for_each_worker(train_config: Train) -> None:
    with pytest.raises(ValidationError, match=r"workers = 4 with batch_size = 7; allowed: at most 3"):
        Train(**train_config.model_dump() | {"batch_size": 7, "workers": 4})
    config = Train(**train_config.model_dump() | {"batch_size": 8, "workers": 4})
    config.require_examples(4)
    with pytest.raises(
        InputError, match=r"train\.workers = 4: the number of training examples is 3; allowed: at most 3"
    ):
        config.require_examples(3)
    config.require_processes(4)
    with pytest.raises(
        InputError, match=r"train\.workers = 4, but the number of processes of the launcher is 2; allowed: 2"
    ):
        config.require_processes(2)
