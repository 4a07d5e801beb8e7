"""Training with the precision `auto` on a CPU with instructions for bfloat16, whatever this machine has."""

import mlflow
import pytest

from models.training import precision
from pipelines.artifacts import paths, training_record
from tests.pipelines import synthetic
from tests.pipelines.train.test_recovery import FRAMEWORKS, QUICK, interrupt, result, run_train

PRECISIONS = {"float32": 0.0, "bfloat16": float("inf")}  # the share of the time in float32 that leads to each


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Enter a new folder of this name, where every training with `auto` is long enough to be measured."""
    monkeypatch.setattr(precision, "has_bfloat16_instructions", lambda: True)
    monkeypatch.setattr(precision, "MINIMUM_VALUES", 0)
    monkeypatch.setattr(precision, "BUDGET", 0.0)

    def enter(name, setting):
        (tmp_path / name).mkdir()
        synthetic.enter(tmp_path / name, monkeypatch, {**QUICK, "train.precision": setting})

    return enter


@pytest.mark.parametrize("expected", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_measured_precision_gives_the_bits_of_the_same_one_requested(enter, monkeypatch, framework, expected):
    enter("requested", expected)
    run_train(framework)
    requested = result(framework)
    assert training_record.read(paths.checkpoint(f"{framework}-mlp") / training_record.FILE)["step_ms"] == {}
    enter("measured", "auto")
    monkeypatch.setattr(precision, "MAXIMUM_SHARE", PRECISIONS[expected])
    done = run_train(framework)
    assert f" in {expected}; measured for a step: " in done.stdout
    assert " ms in float32, " in done.stdout
    assert result(framework) == requested
    record = training_record.read(paths.checkpoint(f"{framework}-mlp") / training_record.FILE)
    assert record["precision"] == expected
    run = mlflow.get_run(record["run_id"])
    assert run.data.tags["precision"] == expected
    assert run.data.tags["device_reason"] == "train.device = 'cpu'"
    for name, milliseconds in record["step_ms"].items():
        assert run.data.metrics[f"step_ms/{name}"] == pytest.approx(milliseconds, abs=1e-3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_resumed_training_keeps_its_precision(enter, monkeypatch, framework):
    enter("requested", "bfloat16")
    run_train(framework)
    requested = result(framework)
    enter("interrupted", "auto")
    monkeypatch.setattr(precision, "MAXIMUM_SHARE", PRECISIONS["bfloat16"])
    interrupt(monkeypatch, framework, 3)
    monkeypatch.setattr(precision, "MAXIMUM_SHARE", PRECISIONS["float32"])  # measured again, it would be this one
    done = run_train(framework)
    assert f"{framework}-mlp: resuming after epoch 2 of 4" in done.stdout
    assert result(framework) == requested
    record = training_record.read(paths.checkpoint(f"{framework}-mlp") / training_record.FILE)
    assert record["precision"] == "bfloat16"
    assert set(record["step_ms"]) == {"float32", "bfloat16"}
